//! The command line from outside: what every verb prints, which files it leaves, and how it ends.

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
