//! A terminal of the tests' own: a pseudo terminal with the program in its foreground, and what stands on its screen.

use crate::program;
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;
use std::fs::File;
use std::fs::OpenOptions;
use std::io::Read;
use std::io::Write;
use std::process::Child;
use std::process::Command;
use std::sync::mpsc;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::Duration;

/// Runs the program, and shows its exit code and how the terminal was set before and after. It ends when it is told to,
/// since the end of whom a terminal belongs to is the end of what stands there.
const SHELL: &str =
    r#"trap : INT QUIT TSTP; echo "<$(stty -g)>"; "$@"; echo "<code $?>"; echo "<$(stty -g)>"; read end"#;

/// Most pieces of output that a test waits for; `ringway top` writes a screen of some a second.
const PIECES_MAX: usize = 4000;

/// Most bytes of a piece: few enough that a screen comes in several, as it may from any terminal.
const PIECE_MAX: usize = 64;

/// A program in a terminal.
pub(crate) struct Terminal {
    shell: Child,
    keyboard: File,
    /// The end that the program has, to change its size.
    line: File,
    output: Receiver<Vec<u8>>,
    seen: String,
    /// The beginning of a character whose end has not come.
    begun: Vec<u8>,
    screen: Screen,
}

/// What a program left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: String,
    /// Everything that came, with its escape sequences.
    pub(crate) output: String,
    /// What is left on the screen.
    pub(crate) screen: String,
    /// Whether the terminal is set as it was before.
    pub(crate) is_restored: bool,
}

impl Terminal {
    /// Runs the program in a terminal of so many columns and rows, with these variables in its environment.
    pub(crate) fn run(arguments: &[&str], size: (u16, u16), variables: &[(&str, &str)]) -> Terminal {
        let keyboard = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        rustix::pty::grantpt(&keyboard).unwrap();
        rustix::pty::unlockpt(&keyboard).unwrap();
        let name = rustix::pty::ptsname(&keyboard, Vec::new()).unwrap().into_string().unwrap();
        let line = OpenOptions::new().read(true).write(true).open(name).unwrap();
        set_size(&line, size);
        let program = program::command(arguments.iter().copied());
        // A session of its own, whose terminal this is, so that Ctrl-C is a signal in it. Of util-linux.
        let mut command = Command::new("setsid");
        command.args(["--ctty", "sh", "-c", SHELL, "sh"]).arg(program.get_program()).args(program.get_args());
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        for variable in ["COLORTERM", "NO_COLOR", "COLUMNS", "LINES"] {
            command.env_remove(variable);
        }
        command.env("TERM", "xterm-256color").envs(variables.iter().copied());
        let end = || line.try_clone().unwrap();
        let shell = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        let keyboard = File::from(keyboard);
        let output = read_all(keyboard.try_clone().unwrap());
        Terminal { shell, keyboard, line, output, seen: String::new(), begun: Vec::new(), screen: Screen::new(size) }
    }

    /// Reads on until the screen is as wished, and returns it. Waits for more pieces than any test reads.
    pub(crate) fn until(&mut self, wish: &str, is_so: impl Fn(&str) -> bool) -> String {
        for _ in 0..PIECES_MAX {
            if let Some(text) = self.screen.shown().filter(|text| is_so(text)) {
                return text;
            }
            if !self.read(Duration::from_secs(60)) {
                break;
            }
        }
        panic!("never {wish}; the screen is\n{}\nand all that came is {:?}", self.screen.text(), self.seen);
    }

    /// The screen, if it becomes as wished before nothing more comes for a while.
    pub(crate) fn soon(&mut self, is_so: impl Fn(&str) -> bool) -> Option<String> {
        loop {
            if let Some(text) = self.screen.shown().filter(|text| is_so(text)) {
                return Some(text);
            }
            if !self.read(Duration::from_millis(500)) {
                return None;
            }
        }
    }

    /// Takes in what comes next; `false` when nothing does.
    fn read(&mut self, patience: Duration) -> bool {
        let Ok(bytes) = self.output.recv_timeout(patience) else { return false };
        self.begun.extend(bytes);
        let whole = std::str::from_utf8(&self.begun).map_or_else(|error| error.valid_up_to(), str::len);
        let text = String::from_utf8(self.begun.drain(..whole).collect()).unwrap();
        self.screen.take(&text);
        self.seen.push_str(&text);
        true
    }

    /// Reads on until this is on the screen, and returns that.
    pub(crate) fn until_it_shows(&mut self, part: &str) -> String {
        self.until(part, |text| text.contains(part))
    }

    /// Types keys.
    pub(crate) fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Gives the terminal another size.
    pub(crate) fn resize(&mut self, size: (u16, u16)) {
        // What is on its way goes on.
        let (begun, is_partial) = (std::mem::take(&mut self.screen.begun), self.screen.is_partial);
        self.screen = Screen { begun, is_partial, ..Screen::new(size) };
        set_size(&self.line, size);
    }

    /// Sends the program a signal, by its name.
    pub(crate) fn signal(&self, name: &str) {
        let shell = self.shell.id();
        let children = std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).unwrap();
        let pid = children.split_whitespace().next().expect("the program runs");
        assert!(Command::new("kill").args([&format!("-{name}"), pid]).status().unwrap().success());
    }

    /// How often the program has taken the whole screen, and given it back.
    pub(crate) fn screens(&self) -> (usize, usize) {
        (self.seen.matches("\x1b[?1049h").count(), self.seen.matches("\x1b[?1049l").count())
    }

    /// Waits for the end of the program.
    pub(crate) fn end(mut self) -> Ended {
        let screen = self.until("its end", |text| {
            let after = text.split("<code ").nth(1);
            after.is_some_and(|after| after.matches('>').count() == 2)
        });
        let told: Vec<&str> = self.seen.split('<').filter_map(|part| part.split('>').next()).collect();
        let (before, code, after) = (told[1], told[told.len() - 2], told[told.len() - 1]);
        Ended {
            code: code.replace("code ", ""),
            is_restored: before == after,
            screen: screen.split("<code").next().unwrap().to_owned(),
            output: self.seen.clone(),
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The terminal hangs up on whoever is left in it.
        drop(self.shell.kill());
        drop(self.shell.wait());
    }
}

fn set_size(line: &File, (columns, rows): (u16, u16)) {
    let size = Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(line, size).unwrap();
}

/// Reads until nobody is left who writes.
fn read_all(mut file: File) -> Receiver<Vec<u8>> {
    let (read, output) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = [0; PIECE_MAX];
        while let Ok(count @ 1..) = file.read(&mut bytes) {
            if read.send(bytes[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    output
}

/// What a terminal of one column for each character shows; it knows the escape sequences that Ringway writes.
struct Screen {
    columns: usize,
    rows: Vec<Vec<char>>,
    at: (usize, usize),
    /// Whether this is half of a screen, of which the rest is still to come.
    is_partial: bool,
    /// The beginning of a sequence whose end has not come.
    begun: String,
}

impl Screen {
    fn new((columns, rows): (u16, u16)) -> Screen {
        let columns = usize::from(columns);
        let rows = vec![vec![' '; columns]; usize::from(rows)];
        Screen { columns, rows, at: (0, 0), is_partial: false, begun: String::new() }
    }

    /// What somebody sees, if that is no half of a screen.
    fn shown(&self) -> Option<String> {
        (!self.is_partial).then(|| self.text())
    }

    fn text(&self) -> String {
        let line = |row: &Vec<char>| row.iter().collect::<String>().trim_end().to_owned();
        self.rows.iter().map(line).collect::<Vec<String>>().join("\n")
    }

    fn take(&mut self, text: &str) {
        for character in text.chars() {
            if !self.begun.is_empty() || character == '\x1b' {
                self.begun.push(character);
                let is_whole = self.begun.len() > 2 && character.is_ascii_alphabetic();
                if is_whole {
                    let sequence = std::mem::take(&mut self.begun);
                    self.obey(&sequence);
                }
                continue;
            }
            match character {
                '\r' => self.at.1 = 0,
                '\n' => self.line_feed(),
                _ => self.put(character),
            }
        }
    }

    fn put(&mut self, character: char) {
        if self.at.1 == self.columns {
            self.at.1 = 0;
            self.line_feed();
        }
        self.rows[self.at.0][self.at.1] = character;
        self.at.1 += 1;
    }

    fn line_feed(&mut self) {
        if self.at.0 + 1 < self.rows.len() {
            self.at.0 += 1;
        } else {
            self.rows.remove(0);
            self.rows.push(vec![' '; self.columns]);
        }
    }

    fn obey(&mut self, sequence: &str) {
        let (row, column) = self.at;
        match sequence {
            "\x1b[H" => self.at = (0, 0),
            "\x1b[K" => self.rows[row][column..].fill(' '),
            "\x1b[J" => {
                self.rows[row][column..].fill(' ');
                self.rows[row + 1..].iter_mut().for_each(|row| row.fill(' '));
            }
            "\x1b[?1049h" | "\x1b[?1049l" => {
                self.rows.iter_mut().for_each(|row| row.fill(' '));
                self.at = (0, 0);
            }
            "\x1b[?2026h" => self.is_partial = true,
            "\x1b[?2026l" => self.is_partial = false,
            "\x1b[?25h" | "\x1b[?25l" | "\x1b[?7h" | "\x1b[?7l" => {}
            colours if colours.ends_with('m') => {}
            unknown => panic!("{unknown:?} is no sequence that this screen knows"),
        }
    }
}
