//! `jackfield completions`.

use std::process::ExitCode;

use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::Shell;

use super::Cli;
use super::output::answer;

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell to complete for
    shell: CompletedShell,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum CompletedShell {
    Bash,
    Zsh,
    Fish,
}

impl From<CompletedShell> for Shell {
    fn from(shell: CompletedShell) -> Self {
        match shell {
            CompletedShell::Bash => Self::Bash,
            CompletedShell::Zsh => Self::Zsh,
            CompletedShell::Fish => Self::Fish,
        }
    }
}

pub(super) fn run(args: &CompletionsArgs) -> ExitCode {
    answer(script(args.shell).trim_end())
}

fn script(shell: CompletedShell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(Shell::from(shell), &mut Cli::command(), "jackfield", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_has_a_script() {
        for shell in CompletedShell::value_variants() {
            let script = script(*shell);
            assert!(script.contains("hash-password") && script.contains("ready-file"), "{script}");
        }
    }
}
