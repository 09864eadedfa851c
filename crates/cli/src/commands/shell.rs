//! `faculty completions` and `faculty man`: what a shell and `man` know of this program.

use std::io::Write as _;

use clap::CommandFactory as _;
use clap::builder::PossibleValuesParser;
use faculty_distill::methods::all as all_methods;
use faculty_nets::all_networks;

use crate::arguments::{Arguments, CompletionsOptions};
use crate::failure::Failure;

pub(crate) fn completions(options: &CompletionsOptions) -> Result<(), Failure> {
    // The generator cannot say that nobody reads any more; a whole text can.
    let mut text = Vec::new();
    let mut command = with_names(Arguments::command());
    clap_complete::generate(options.shell, &mut command, "faculty", &mut text);
    Ok(crate::terminal::stdout().write_all(&text)?)
}

/// The program with the methods and networks as values of the arguments that take one. Only for
/// completions: where a name is read, more is allowed (`resnet8+simkd256`), with better messages.
fn with_names(mut program: clap::Command) -> clap::Command {
    let networks: Vec<&str> = all_networks().into_iter().map(|info| info.name).collect();
    let methods: Vec<&str> = all_methods().into_iter().map(|info| info.spec.name).collect();
    let several: Vec<&str> = methods.iter().copied().chain(["all"]).collect();
    for (command, argument, names) in [
        ("methods", "name", &methods),
        ("init", "method", &methods),
        ("init", "student", &networks),
        ("compare", "methods", &several),
        ("compare", "against", &methods),
        ("evaluate", "network", &networks),
        ("export", "network", &networks),
        ("predict", "network", &networks),
    ] {
        let names = PossibleValuesParser::new(names.clone());
        program = program.mut_subcommand(command, |command| {
            command.mut_arg(argument, |argument| argument.value_parser(names))
        });
    }
    program
}

/// One page: the program, then each command with its options.
pub(crate) fn man() -> Result<(), Failure> {
    let mut text = Vec::new();
    let mut program = Arguments::command();
    program.build();
    clap_mangen::Man::new(program.clone()).render(&mut text)?;
    for command in program.get_subcommands().filter(|command| command.get_name() != "help") {
        let page = clap_mangen::Man::new(command.clone());
        writeln!(text, ".SH \"FACULTY {}\"", command.get_name().to_uppercase())?;
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        writeln!(text, "{}", about.replace('\\', "\\e").replace('-', "\\-"))?;
        page.render_synopsis_section(&mut text)?;
        page.render_options_section(&mut text)?;
        page.render_extra_section(&mut text)?;
    }
    Ok(crate::terminal::stdout().write_all(&text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completions_of_every_shell_know_methods_and_networks() {
        use clap_complete::Shell::{Bash, Fish, Zsh};
        for shell in [Bash, Fish, Zsh] {
            let mut text = Vec::new();
            let mut command = with_names(Arguments::command());
            clap_complete::generate(shell, &mut command, "faculty", &mut text);
            let text = String::from_utf8(text).unwrap();
            for name in ["ca-mkd", "reviewkd", "resnet32x4"] {
                assert!(text.contains(name), "{shell}: {name}");
            }
        }
    }
}
