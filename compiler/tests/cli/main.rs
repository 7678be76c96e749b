//! The command line from outside: output, files and exit codes of every verb.

mod bad_data;
mod bad_models;
mod choices;
mod limits;
mod oracle;
mod outputs;
mod protobuf;
mod quantizing;
mod readme;
mod sandbox;
mod speed;
mod tuning;
mod verbs;
