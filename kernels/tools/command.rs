//! Programs that may fail, crash or hang.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::ToolError;

/// Runs a program and gives what it writes. `log` is a file for that.
///
/// # Errors
/// A program that does not start, fails, or runs longer than `limit`.
pub fn run(command: &mut Command, limit: Duration, log: &Path) -> Result<String, ToolError> {
    let program = PathBuf::from(command.get_program());
    let file = File::create(log).map_err(|e| ToolError::file(log, e))?;
    let copy = file.try_clone().map_err(|e| ToolError::file(log, e))?;
    command.stdin(Stdio::null()).stdout(file).stderr(copy);
    // A group of its own: nvcc runs further programs, which end with it.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    let start = |e: std::io::Error| ToolError::Start {
        program: program.clone(),
        reason: e.to_string(),
    };
    let mut child = command.spawn().map_err(start)?;
    let begun = Instant::now();
    let mut pause = Duration::from_millis(1);
    let status = loop {
        if let Some(status) = child.try_wait().map_err(start)? {
            break status;
        }
        if begun.elapsed() > limit {
            end(&mut child);
            let seconds = limit.as_secs();
            return Err(ToolError::Hangs { program, seconds });
        }
        sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    };
    let output = std::fs::read(log).map_err(|e| ToolError::file(log, e))?;
    let output = String::from_utf8_lossy(&output).into_owned();
    match status.success() {
        true => Ok(output),
        false => Err(ToolError::Fails {
            program,
            status: status.to_string(),
            words: gist(&output),
        }),
    }
}

/// Ends a child and what it started.
fn end(child: &mut Child) {
    #[cfg(unix)]
    let _ = Command::new("kill")
        .args(["-KILL", "--", &format!("-{}", child.id())])
        .stderr(Stdio::null())
        .status();
    let _ = child.kill();
    let _ = child.wait();
}

/// The line of a compiler's output that says most.
fn gist(output: &str) -> String {
    let mut lines = output
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let telling = |line: &&str| line.contains("error") || line.contains("fatal");
    let line = lines.clone().find(telling).or_else(|| lines.next_back());
    line.unwrap_or("it says nothing")
        .chars()
        .take(300)
        .collect()
}
