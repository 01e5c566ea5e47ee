//! What a page in Markdown tells its readers to type, and what they should see.

use std::fs;
use std::path::Path;

/// A page, by its path in the repository.
pub(crate) struct Page {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// A fenced block with commands, with the blocks after it that only show output.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// Such as `README.md:26`, where its first line stands.
    pub(crate) place: String,
    pub(crate) commands: Vec<Command>,
    /// Each a part of the output of the last command that is run.
    pub(crate) excerpts: Vec<Vec<Shown>>,
}

/// A line after `$ `, with those that continue it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) place: String,
    pub(crate) text: String,
    /// All of its output, or nothing where the page shows none.
    pub(crate) output: Vec<Shown>,
}

/// A line of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) place: String,
    pub(crate) text: String,
}

impl Command {
    /// What is typed, without the remark behind it.
    pub(crate) fn typed(&self) -> &str {
        self.text.split(" # ").next().unwrap_or_default().trim_end()
    }
}

/// README.md and the pages under docs/.
pub(crate) fn pages() -> Vec<Page> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut paths: Vec<String> = docs.filter(|name| name.ends_with(".md")).map(|name| format!("docs/{name}")).collect();
    paths.sort();
    paths.insert(0, "README.md".to_owned());
    let page = |path: String| Page { text: fs::read_to_string(root.join(&path)).unwrap(), path };
    paths.into_iter().map(page).collect()
}

/// All blocks with commands, from top to bottom.
pub(crate) fn blocks(page: &Page) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for fence in fences(page) {
        match fence.lines.first() {
            Some(first) if first.text.starts_with(PROMPT) => blocks.push(block(fence.lines)),
            Some(first) if ["sh", "bash", "shell", "console"].contains(&fence.language) => {
                panic!("{}: a command is written `$ COMMAND`, so that a test can run it", first.place)
            }
            Some(first) if fence.language.is_empty() => {
                let last = blocks.last_mut();
                let last = last.unwrap_or_else(|| panic!("{}: output of no command above it", first.place));
                last.excerpts.push(fence.lines);
            }
            _ => {}
        }
    }
    blocks
}

/// The TOML block of a page that holds `text`.
pub(crate) fn recipe(page: &Page, text: &str) -> String {
    let lines = |fence: Fence<'_>| fence.lines.into_iter().map(|line| line.text + "\n").collect::<String>();
    let recipes = fences(page).into_iter().filter(|fence| fence.language == "toml").map(lines);
    let found = recipes.into_iter().find(|recipe| recipe.contains(text));
    found.unwrap_or_else(|| panic!("{} has no TOML block with {text:?} any more", page.path))
}

/// What stands between single backticks in the text, even over the end of a line.
pub(crate) fn code_spans(page: &Page) -> Vec<String> {
    let mut is_text = true;
    let mut text = String::new();
    for line in page.text.lines() {
        if line.starts_with(FENCE) {
            is_text = !is_text;
        } else if is_text {
            text += line;
            text.push(' ');
        }
    }
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Addresses of nodes that pages name: `NAME=10.X.Y.Z:PORT` and `address = "10.X.Y.Z:PORT"`.
pub(crate) fn node_addresses(text: &str) -> Vec<String> {
    let is_address = |c: &char| c.is_ascii_digit() || ['.', ':'].contains(c);
    let starts = ["=10.", "address = \"10."].into_iter().flat_map(|start| {
        let skipped = start.len() - "10.".len();
        text.match_indices(start).map(move |(at, _)| at + skipped)
    });
    let mut found: Vec<String> = starts.map(|at| text[at..].chars().take_while(is_address).collect()).collect();
    found.sort();
    found.dedup();
    found
}

/// What stands between two lines of three backticks.
struct Fence<'a> {
    language: &'a str,
    lines: Vec<Shown>,
}

fn fences(page: &Page) -> Vec<Fence<'_>> {
    let mut fences = Vec::new();
    let mut open: Option<Fence<'_>> = None;
    for (number, line) in (1..).zip(page.text.lines()) {
        match (line.strip_prefix(FENCE), &mut open) {
            (Some(language), None) => open = Some(Fence { language, lines: Vec::new() }),
            (Some(_), Some(_)) => fences.extend(open.take()),
            (None, Some(fence)) => {
                fence.lines.push(Shown { place: format!("{}:{number}", page.path), text: line.to_owned() });
            }
            (None, None) => {}
        }
    }
    fences
}

fn block(lines: Vec<Shown>) -> Block {
    let place = lines[0].place.clone();
    let mut commands: Vec<Command> = Vec::new();
    let mut continues = false;
    for Shown { place, text } in lines {
        let ends_open = text.ends_with('\\');
        match (text.strip_prefix(PROMPT), commands.last_mut()) {
            (Some(text), _) => commands.push(Command { place, text: text.to_owned(), output: Vec::new() }),
            (None, Some(command)) if continues => command.text = format!("{}\n{text}", command.text),
            (None, Some(command)) => {
                command.output.push(Shown { place, text });
                continue;
            }
            (None, None) => continue,
        }
        continues = ends_open;
    }
    for command in &mut commands {
        // Empty lines are there for the eye.
        while command.output.last().is_some_and(|line| line.text.is_empty()) {
            command.output.pop();
        }
    }
    Block { place, commands, excerpts: Vec::new() }
}

const FENCE: &str = "```";

const PROMPT: &str = "$ ";

#[cfg(test)]
mod tests {
    use super::*;

    fn page(text: &str) -> Page {
        Page { path: "P.md".to_owned(), text: text.to_owned() }
    }

    #[test]
    fn commands_have_their_continuations_and_their_output() {
        let page = page(
            "A\n```\n$ one \\\n  more   # why\nout\n\n  put\n\n$ two\n```\n```\nof two\n```\n```toml\na = 1\n```\n",
        );
        let blocks = blocks(&page);
        let [Block { place, commands, excerpts }] = &blocks[..] else { panic!("{blocks:?}") };
        let shown =
            |lines: &[Shown]| lines.iter().map(|line| format!("{} {}", line.place, line.text)).collect::<Vec<_>>();
        assert_eq!((place.as_str(), commands[0].place.as_str()), ("P.md:3", "P.md:3"));
        assert_eq!(commands[0].typed(), "one \\\n  more");
        assert_eq!(shown(&commands[0].output), ["P.md:5 out", "P.md:6 ", "P.md:7   put"]);
        assert_eq!((commands[1].place.as_str(), commands[1].text.as_str()), ("P.md:9", "two"));
        assert_eq!(shown(&excerpts[0]), ["P.md:12 of two"]);
        assert_eq!(recipe(&page, "a ="), "a = 1\n");
    }

    #[test]
    fn code_within_the_text_may_go_over_the_end_of_a_line() {
        let page = page("Say `a b` or `c\nd`.\n```\n$ not `this`\n```\n`e`\n");
        assert_eq!(code_spans(&page), ["a b", "c d", "e"]);
    }

    #[test]
    fn nodes_are_found_wherever_they_are_named() {
        let text = "a=10.0.0.1:30 listen = \"10.0.0.5:9\" { address = \"10.0.0.2:80\", x } 10.0.0.9:1 =10.0.0.1:30,w";
        assert_eq!(node_addresses(text), ["10.0.0.1:30", "10.0.0.2:80"]);
    }
}
