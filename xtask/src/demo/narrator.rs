//! The demo's output: short lines, each with the seconds since the start.

use std::time::Instant;

/// Tells what happens and when.
#[derive(Clone, Debug)]
pub(crate) struct Narrator {
    start: Instant,
}

impl Narrator {
    /// Starts the clock.
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// A new part of the demo.
    pub(crate) fn part(&self, title: &str) {
        println!("\n{title}");
    }

    /// Something that happened.
    pub(crate) fn tell(&self, line: &str) {
        println!("{:>7.1} s  {line}", self.start.elapsed().as_secs_f64());
    }

    /// A command that a person could type.
    pub(crate) fn command(&self, line: &str) {
        println!("{:>7.1} s  $ {line}", self.start.elapsed().as_secs_f64());
    }

    /// What a program said, indented under the line before.
    pub(crate) fn quote<'a>(&self, lines: impl IntoIterator<Item = &'a str>) {
        for line in lines {
            println!("             {line}");
        }
    }
}
