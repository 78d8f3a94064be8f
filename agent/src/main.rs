//! `myelin-agent`: the program on every node of a pool. What it does is in the library beside it.

fn main() -> std::process::ExitCode {
    myelin_agent::command::main()
}
