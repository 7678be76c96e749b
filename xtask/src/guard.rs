//! `guard`: what a change of structure must keep, by `benches/guard.py`: the bytes of all outputs, and the times.

use std::process::Command;

use crate::process::{self, Failure};
use crate::{python, setup, workspace, zoo};

/// The networks that the guard runs beside the shared models: all that are convolutional, and a transformer.
const NETWORKS: &[&str] = &[
    "densenet121",
    "efficientnet_b0",
    "inception_v3",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "resnet18",
    "resnet18_bn_dynbatch",
    "resnet50",
    "shufflenet_v2_x1_0",
    "squeezenet1_1",
    "unet_256",
    "vit_tiny",
];

/// The task: builds the released compiler and hands all arguments on.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let llvm = setup::ensure()?;
    let python = python::ensure(python::REFERENCE)?;
    let networks: Vec<String> = NETWORKS.iter().map(ToString::to_string).collect();
    if let Err(failure) = zoo::build(&networks) {
        eprintln!("guard: the networks of the zoo are SKIPPED: {failure}");
    }
    process::run(workspace::cargo(&llvm).args(["build", "--release", "--package", "eightfold-compiler"]))?;
    let mut guard = Command::new(python);
    guard.arg(workspace::root().join("benches/guard.py"));
    guard.arg("--eightfold").arg(workspace::target().join("release/eightfold"));
    guard.arg("--models").arg(workspace::shared().join("models"));
    guard.arg("--networks").arg(zoo::folder());
    process::run(guard.args(arguments))
}
