//! The terminal behind standard output: its size, and a screen of its own that is given back whatever happens.

use crate::cli::paint::Colours;
use crate::cli::paint::Line;
use rustix::process::Signal;
use rustix::termios::LocalModes;
use rustix::termios::OptionalActions;
use rustix::termios::SpecialCodeIndex;
use rustix::termios::Termios;
use std::io;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::panic;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

/// How large a terminal is, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) rows: usize,
}

/// How large the terminal of standard output is. Where it does not say, `COLUMNS` and `LINES` do, as for top(1).
pub(super) fn size() -> Size {
    let told = rustix::termios::tcgetwinsize(io::stdout()).ok();
    let one_of = |told: Option<u16>, variable: &str, usual: usize| {
        let set = || std::env::var(variable).ok().and_then(|value| value.parse().ok());
        told.map(usize::from).filter(|told| *told > 0).or_else(set).unwrap_or(usual)
    };
    Size {
        columns: one_of(told.map(|size| size.ws_col), "COLUMNS", USUAL.columns),
        rows: one_of(told.map(|size| size.ws_row), "LINES", USUAL.rows),
    }
}

/// Whether the terminal can do more than write line after line.
pub(super) fn has_screens() -> bool {
    std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb")
}

/// The whole terminal for one program: the alternate screen, without a cursor, and keys as they are typed. Whoever was
/// there before gets it back as it was when this is dropped, and before a panic is told.
pub(super) struct Screen {
    hold: Arc<Hold>,
}

/// What there is to give back, and to whom.
struct Hold {
    output: OwnedFd,
    /// Where keys are typed and how that was, if it is a terminal.
    input: Option<(OwnedFd, Termios)>,
    is_ours: AtomicBool,
}

impl Screen {
    /// Takes the terminal of standard input and output.
    ///
    /// # Errors
    /// When the terminal does not do as it is told.
    pub(super) fn take() -> io::Result<Screen> {
        Screen::take_of(io::stdin().as_fd(), io::stdout().as_fd())
    }

    fn take_of(input: BorrowedFd<'_>, output: BorrowedFd<'_>) -> io::Result<Screen> {
        let input = match input.is_terminal() {
            true => Some((input.try_clone_to_owned()?, rustix::termios::tcgetattr(input)?)),
            false => None,
        };
        let hold = Hold { output: output.try_clone_to_owned()?, input, is_ours: AtomicBool::new(false) };
        let screen = Screen { hold: Arc::new(hold) };
        let (hold, tell) = (Arc::clone(&screen.hold), panic::take_hook());
        panic::set_hook(Box::new(move |panic| {
            hold.give_back();
            tell(panic);
        }));
        screen.hold.take()?;
        Ok(screen)
    }

    /// Shows these lines, from the top, and nothing else.
    pub(super) fn show(&self, lines: &[Line], size: Size, colours: Colours) -> io::Result<()> {
        let line = |line: &Line| {
            let line = line.clone().cut(size.columns);
            // Behind a full line the cursor still stands on its last character.
            let end = if line.width() < size.columns { REST_OF_LINE } else { "" };
            line.painted(colours) + end
        };
        // Nothing is wiped that is written again, and where a terminal knows how, no half of it is shown: so nothing
        // flickers.
        let shown: Vec<String> = lines.iter().take(size.rows).map(line).collect();
        self.hold.write(&format!("{BEGIN}{TOP}{}{BELOW}{END}", shown.join("\r\n")))
    }

    /// Gives the terminal back, has this process stopped as the shell expects, and takes it again once that goes on.
    pub(super) fn stop_and_go_on(&self) -> io::Result<()> {
        self.hold.give_back();
        rustix::process::kill_process(rustix::process::getpid(), Signal::STOP)?;
        self.hold.take()
    }

    /// Takes the terminal again after somebody else may have had it.
    pub(super) fn take_again(&self) -> io::Result<()> {
        self.hold.take()
    }

    /// Whether keys are to be expected.
    pub(super) fn has_keys(&self) -> bool {
        self.hold.input.is_some()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.hold.give_back();
    }
}

impl Hold {
    fn take(&self) -> io::Result<()> {
        self.is_ours.store(true, Ordering::SeqCst);
        if let Some((input, modes)) = &self.input {
            let mut ours = modes.clone();
            // Keys come at once and are not shown; Ctrl-C and Ctrl-Z stay signals.
            ours.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
            // A read waits for one key, and takes what else is there.
            ours.special_codes[SpecialCodeIndex::VMIN] = 1;
            ours.special_codes[SpecialCodeIndex::VTIME] = 0;
            rustix::termios::tcsetattr(input, OptionalActions::Now, &ours)?;
        }
        self.write(TAKE)
    }

    /// Does so once, however often it is asked to.
    fn give_back(&self) {
        if !self.is_ours.swap(false, Ordering::SeqCst) {
            return;
        }
        // A terminal that is gone wants nothing back.
        drop(self.write(GIVE_BACK));
        if let Some((input, modes)) = &self.input {
            drop(rustix::termios::tcsetattr(input, OptionalActions::Flush, modes).map_err(io::Error::from));
        }
    }

    /// Writes past the lock of standard output, which a thread that panics may hold.
    fn write(&self, text: &str) -> io::Result<()> {
        let mut bytes = text.as_bytes();
        while !bytes.is_empty() {
            match rustix::io::write(&self.output, bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// Alternate screen (xterm's private mode 1049), no cursor (DECTCEM), no wrapping (DECAWM).
const TAKE: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";

/// The same the other way round, whatever was on its way.
const GIVE_BACK: &str = "\x1b[?2026l\x1b[?7h\x1b[?25h\x1b[?1049l";

/// What follows is one update (private mode 2026, synchronized output); a terminal that has no such mode ignores it.
const BEGIN: &str = "\x1b[?2026h";

/// The update is whole.
const END: &str = "\x1b[?2026l";

/// To the top left corner.
const TOP: &str = "\x1b[H";

/// Wipes the rest of the line.
const REST_OF_LINE: &str = "\x1b[K";

/// Wipes what is below.
const BELOW: &str = "\x1b[J";

/// What a terminal is where nobody says how large it is.
const USUAL: Size = Size { columns: 80, rows: 24 };

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::paint::Paint;
    use rustix::pty::OpenptFlags;
    use std::fs::File;
    use std::fs::OpenOptions;
    use std::io::Read;

    /// A terminal: the end of who looks at it, and the end of a program.
    fn terminal() -> (File, File) {
        let outside = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        rustix::pty::grantpt(&outside).unwrap();
        rustix::pty::unlockpt(&outside).unwrap();
        let name = rustix::pty::ptsname(&outside, Vec::new()).unwrap().into_string().unwrap();
        (File::from(outside), OpenOptions::new().read(true).write(true).open(name).unwrap())
    }

    fn modes(terminal: &File) -> LocalModes {
        rustix::termios::tcgetattr(terminal).unwrap().local_modes
    }

    #[test]
    fn a_panic_gives_the_terminal_back() {
        let (mut outside, inside) = terminal();
        let before = modes(&inside);
        let panicked = panic::catch_unwind(|| {
            let screen = Screen::take_of(inside.as_fd(), inside.as_fd()).unwrap();
            assert!(!modes(&inside).intersects(LocalModes::ICANON | LocalModes::ECHO));
            let size = Size { columns: 3, rows: 2 };
            let lines = ["abcd", "e", "f"].map(|text| Line::new(text, Paint::Plain));
            screen.show(&lines, size, Colours::None).unwrap();
            panic!("of this test");
        });
        assert!(panicked.is_err());
        assert_eq!(modes(&inside), before);
        let mut written = Vec::new();
        while !written.ends_with(GIVE_BACK.as_bytes()) {
            let mut bytes = [0; 1024];
            let count = outside.read(&mut bytes).unwrap();
            written.extend_from_slice(&bytes[..count]);
        }
        // The terminal makes a line feed of each new line itself, too.
        let written = String::from_utf8(written).unwrap().replace("\r\r\n", "\r\n");
        assert_eq!(written, format!("{TAKE}{BEGIN}\x1b[Hab…\r\ne\x1b[K\x1b[J{END}{GIVE_BACK}"));
    }
}
