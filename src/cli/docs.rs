//! `ruche docs DIR`: manual pages and shell completions, made from the command tree.
use std::fs;
use std::io;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::cli::failure::Failure;
use crate::cli::tree::Cli;

/// `DIR/man1/ruche-….1`, and in `DIR/completions` one file for each shell.
pub(crate) fn write(dir: &Path) -> Result<(), Failure> {
    pages(dir).map_err(|cause| Failure::io(format!("write the manual to {}", dir.display()), cause))
}

fn pages(dir: &Path) -> io::Result<()> {
    let (man, completions) = (dir.join("man1"), dir.join("completions"));
    fs::create_dir_all(&man)?;
    fs::create_dir_all(&completions)?;
    let mut tree = Cli::command().disable_help_subcommand(true);
    tree.build();
    page(&tree, &man)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut Cli::command(), "ruche", &completions)?;
    }
    Ok(())
}

/// The page of a command and those of the commands below it.
fn page(command: &Command, dir: &Path) -> io::Result<()> {
    let source = concat!("Ruche ", env!("CARGO_PKG_VERSION"));
    Man::new(command.clone()).source(source).manual("Ruche").generate_to(dir)?;
    command.get_subcommands().filter(|below| !below.is_hide_set()).try_for_each(|below| page(below, dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_its_page() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path()).unwrap();
        for page in ["ruche", "ruche-run", "ruche-site-create", "ruche-cluster-key-export", "ruche-ftp-user-set"] {
            let text = fs::read_to_string(dir.path().join(format!("man1/{page}.1"))).unwrap();
            let title = format!(".TH {page} 1  \"Ruche {}\"", env!("CARGO_PKG_VERSION"));
            assert!(text.contains(&title) && text.contains(".SH SYNOPSIS"), "{text}");
        }
        let names = |sub: &str| {
            let entries = fs::read_dir(dir.path().join(sub)).unwrap();
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
        };
        let odd: Vec<_> =
            names("man1").into_iter().filter(|page| page.contains("help") || page.contains("docs")).collect();
        assert!(odd.is_empty(), "{odd:?}");
        let mut shells = names("completions");
        shells.sort();
        assert_eq!(shells, ["_ruche", "ruche.bash", "ruche.fish"]);
    }
}
