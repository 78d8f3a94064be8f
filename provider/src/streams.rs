//! The three standard streams after the handshake belong to us alone.
//!
//! Terraform considers us gone only when our stdout and stderr end, so a child process that inherited them would make
//! it hang. Anything on stdout breaks the protocol. And stdin is where the user answers Terraform, not a credential
//! plugin. After the handshake line all three point to nowhere, for us and for every child; the log keeps a private
//! copy of stderr that no child inherits.

use std::io;

/// Points the standard streams to nowhere and gives the log its own copy of stderr.
///
/// # Errors
/// If the streams cannot be duplicated.
#[cfg(unix)]
pub fn make_private() -> io::Result<()> {
    use std::fs::File;
    use std::os::fd::AsFd as _;

    // Copies made by the standard library are closed in children.
    let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    let stdout = io::stdout().as_fd().try_clone_to_owned()?;
    let nowhere = File::options().read(true).write(true).open("/dev/null")?;
    crate::log::write_to(stderr);
    rustix::stdio::dup2_stdin(&nowhere)?;
    rustix::stdio::dup2_stdout(&nowhere)?;
    rustix::stdio::dup2_stderr(&nowhere)?;
    // The pipe itself stays open as long as we live: its end tells Terraform that we are gone.
    std::mem::forget(stdout);
    Ok(())
}

/// There is nothing to do: children are started without inherited handles.
#[cfg(not(unix))]
pub fn make_private() -> io::Result<()> {
    Ok(())
}
