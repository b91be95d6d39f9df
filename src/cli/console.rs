//! What the user sees: prints, warnings, and progress bars on a terminal only.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::run::record::Status;
use crate::script::context::{Console, Event};

/// Prints to standard output; a reader that has gone away is no error.
pub fn out(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes());
    if !text.ends_with('\n') {
        let _ = stdout.write_all(b"\n");
    }
    let _ = stdout.flush();
}

/// Prints an error.
pub fn error(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "error: {text}");
}

/// The terminal.
pub struct Terminal {
    quiet: bool,
    explains: bool,
    bar: ProgressBar,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    stage: String,
}

impl Terminal {
    /// A console on the terminal; with `quiet` only errors are printed.
    pub fn new(quiet: bool) -> Terminal {
        let target =
            if quiet || !std::io::stderr().is_terminal() { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr_with_hz(8) };
        let bar = ProgressBar::with_draw_target(None, target);
        Terminal { quiet, explains: false, bar, state: Mutex::default() }
    }

    /// A console that says of every step whether it would run, and why; what the script prints is left out.
    pub fn explaining() -> Terminal {
        Terminal { explains: true, ..Terminal::new(false) }
    }

    fn explain(&self, verb: &str, status: Status, because: &[String]) {
        let (word, reasons) = match status {
            Status::Skipped => ("done", String::new()),
            Status::Restored => ("stored", String::new()),
            Status::Run | Status::Would => ("would run", first_few(because)),
        };
        self.say(&format!("{word:9}  {verb:18}  {reasons}"));
    }

    /// Takes the progress bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn say(&self, text: &str) {
        if !self.quiet {
            self.bar.suspend(|| out(text));
        }
    }

    fn show_progress(&self, stage: &str, done: u64, total: u64) {
        let Ok(mut state) = self.state.lock() else { return };
        if state.stage != stage {
            state.stage = stage.to_string();
            self.bar.reset();
            let style = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} {elapsed} (about {eta} left)");
            self.bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            self.bar.set_message(stage.to_string());
        }
        self.bar.set_length(total.max(1));
        self.bar.set_position(done.min(total));
    }

    fn start_step(&self, verb: &str) {
        if let Ok(mut state) = self.state.lock() {
            state.stage.clear();
        }
        // Stopping the ticks waits for the thread that makes them: worth it on a terminal only.
        if self.bar.is_hidden() {
            return;
        }
        self.bar.reset();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
            self.bar.set_style(style);
        }
        self.bar.set_message(verb.to_string());
        self.bar.enable_steady_tick(Duration::from_millis(200));
    }

    fn end_step(&self) {
        if self.bar.is_hidden() {
            return;
        }
        self.bar.disable_steady_tick();
        self.bar.finish_and_clear();
    }
}

/// The first reasons; the record of the run that follows has them all.
fn first_few(because: &[String]) -> String {
    const SHOWN: usize = 3;
    let more = because.len().saturating_sub(SHOWN);
    let mut text = because[..because.len().min(SHOWN)].join("; ");
    if more > 0 {
        text.push_str(&format!("; and {more} more"));
    }
    text
}

impl Console for Terminal {
    fn event(&self, event: Event) {
        match event {
            Event::Print(_) if self.explains => {}
            Event::Print(text) => self.say(&text),
            Event::Warning(w) => {
                if !self.quiet {
                    let hint = w.hint.map(|h| format!("\n  hint: {h}")).unwrap_or_default();
                    self.bar.suspend(|| {
                        let _ = writeln!(std::io::stderr().lock(), "warning [{}]: {}{hint}", w.name, w.message);
                    });
                }
            }
            Event::Progress { stage, done, total } => self.show_progress(&stage, done, total),
            Event::StepStarted(verb) => self.start_step(verb),
            Event::StepEnded { verb, status, because } => {
                self.end_step();
                if self.explains {
                    self.explain(verb, status, &because);
                }
            }
            Event::Cell(_) => {}
        }
    }
}
