//! `faculty completions` and `faculty man`: what a shell and `man` know of this program.

use std::io::Write as _;

use clap::CommandFactory as _;

use crate::arguments::{Arguments, CompletionsOptions};
use crate::failure::Failure;

pub(crate) fn completions(options: &CompletionsOptions) -> Result<(), Failure> {
    // The generator cannot say that nobody reads any more; a whole text can.
    let mut text = Vec::new();
    let mut command = Arguments::command();
    clap_complete::generate(options.shell, &mut command, "faculty", &mut text);
    Ok(crate::terminal::stdout().write_all(&text)?)
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
