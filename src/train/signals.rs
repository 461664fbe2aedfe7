//! Ctrl-C and SIGTERM: finish the step, save, say so.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// Exit status of a program that Ctrl-C ended: 128 + SIGINT.
const INTERRUPTED: i32 = 130;

/// Whether the user, or the machine's scheduler, wants the program to stop.
#[derive(Clone, Debug)]
pub struct Stop {
    signal: Arc<AtomicUsize>,
}

impl Stop {
    /// From now on Ctrl-C and SIGTERM ask for a stop instead of ending the program; once a stop
    /// was asked for, a (further) Ctrl-C ends it at once.
    ///
    /// # Errors
    /// The handlers cannot be installed.
    pub fn install() -> io::Result<Self> {
        let signal = Arc::new(AtomicUsize::new(0));
        let asked = Arc::new(AtomicBool::new(false));
        // Handlers run in this order: the first Ctrl-C passes the shutdown and only then arms it.
        flag::register_conditional_shutdown(SIGINT, INTERRUPTED, Arc::clone(&asked))?;
        for number in [SIGINT, SIGTERM] {
            flag::register(number, Arc::clone(&asked))?;
            flag::register_usize(number, Arc::clone(&signal), number as usize)?;
        }
        Ok(Self { signal })
    }

    /// The name of the signal that asked for a stop, if one did.
    pub fn requested(&self) -> Option<&'static str> {
        match self.signal.load(Ordering::Relaxed) as i32 {
            0 => None,
            SIGTERM => Some("SIGTERM"),
            _ => Some("Ctrl-C"),
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use signal_hook::low_level::raise;
    use std::process::Command;

    /// Set in a child of the test, which then behaves as the variable's value says.
    const CHILD: &str = "COSMOGAN_TEST_SIGNALS";

    /// Signals belong to a process, so each case runs this test once more in one of its own.
    #[test]
    fn the_first_signal_asks_and_a_second_ctrl_c_ends() {
        const NAME: &str = "train::signals::tests::the_first_signal_asks_and_a_second_ctrl_c_ends";
        if let Ok(case) = std::env::var(CHILD) {
            std::process::exit(child(&case));
        }
        for (case, expected) in [("i", 1), ("t", 2), ("tt", 2), ("ii", 130), ("ti", 130)] {
            let status = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", NAME])
                .env(CHILD, case)
                .status()
                .unwrap();
            assert_eq!(status.code(), Some(expected), "signals {case}");
        }
    }

    /// Raises the signals of `case`; 1 if Ctrl-C asked for the stop, 2 if SIGTERM did.
    fn child(case: &str) -> i32 {
        let stop = Stop::install().unwrap();
        assert_eq!(stop.requested(), None);
        for letter in case.chars() {
            raise(if letter == 'i' { SIGINT } else { SIGTERM }).unwrap();
        }
        match stop.requested() {
            Some("Ctrl-C") => 1,
            Some("SIGTERM") => 2,
            _ => 0,
        }
    }
}
