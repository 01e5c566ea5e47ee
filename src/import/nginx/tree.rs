//! The directives of nginx's configuration with their places, `include`s put in.

use crate::import::Place;
use crate::import::Unreadable;
use crate::import::nginx::Include;
use crate::import::nginx::PATTERN_RULES;
use crate::import::nginx::is_pattern;
use crate::import::nginx::lexer::Lexer;
use crate::import::nginx::lexer::Token;

/// `name args;` or `name args { block }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Directive {
    /// Where it begins.
    pub(super) place: Place,
    pub(super) name: String,
    pub(super) args: Vec<String>,
    pub(super) block: Option<Vec<Directive>>,
}

impl Directive {
    /// An argument; empty where there is none.
    pub(super) fn arg(&self, index: usize) -> &str {
        self.args.get(index).map_or("", String::as_str)
    }

    /// What stands in its braces.
    pub(super) fn children(&self) -> &[Directive] {
        self.block.as_deref().unwrap_or_default()
    }

    /// As it stands in the file, cut where it is long.
    pub(super) fn shown(&self) -> String {
        let words: Vec<&str> = std::iter::once(&self.name).chain(&self.args).map(String::as_str).collect();
        let words = words.join(" ");
        match words.char_indices().nth(SHOWN_CHARS_MAX) {
            Some((cut, _)) => format!("{}...", &words[..cut]),
            None => words,
        }
    }

    /// That nginx would not take it.
    pub(super) fn refuse(&self, why: impl Into<String>) -> Unreadable {
        Unreadable { place: self.place.clone(), why: why.into() }
    }
}

/// Reads a file, or what `nginx -T` prints, which holds all files with their names.
pub(super) fn read(text: &str, include: &Include<'_>) -> Result<Vec<Directive>, Unreadable> {
    let Some(files) = dumped(text) else {
        return Reader::new(include).file(None, text);
    };
    let (main, main_text) = files[0];
    let folder = main.rsplit_once('/').map_or("", |(folder, _)| folder);
    let from_dump = |pattern: &str| {
        let pattern = if pattern.starts_with('/') { pattern.to_owned() } else { format!("{folder}/{pattern}") };
        let names = glob::Pattern::new(&pattern).map_err(|error| format!("{pattern} is no pattern: {error}"))?;
        let is_named = |name: &str| names.matches_with(name, PATTERN_RULES);
        let mut named: Vec<&(&str, &str)> = files.iter().filter(|(name, _)| is_named(name)).collect();
        named.sort();
        match named.is_empty() && !is_pattern(&pattern) {
            true => Err(format!("{pattern} is not among the files of this dump")),
            false => Ok(named.into_iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()),
        }
    };
    Reader::new(&from_dump).file(Some(main), main_text)
}

/// The files of a dump, each with its name; `None` when it is none. Before the first one there may be what nginx says
/// about the test of the configuration.
fn dumped(text: &str) -> Option<Vec<(&str, &str)>> {
    let first = text.lines().find(|line| !line.is_empty() && !line.starts_with("nginx: "))?;
    marked(first)?;
    let mut files: Vec<(&str, &str)> = Vec::new();
    let mut begun = None;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if let Some(name) = marked(line.trim_end()) {
            files.extend(begun.map(|(name, start)| (name, &text[start..at])));
            begun = Some((name, at + line.len()));
        }
        at += line.len();
    }
    files.extend(begun.map(|(name, start)| (name, &text[start..])));
    Some(files)
}

fn marked(line: &str) -> Option<&str> {
    line.strip_prefix("# configuration file ")?.strip_suffix(':')
}

/// Reads files one within another.
struct Reader<'a> {
    include: &'a Include<'a>,
    /// The files that are being read, each included by the one before it.
    open: Vec<String>,
    /// What was read of included files.
    bytes: usize,
}

/// What has been read of the directive at hand.
#[derive(Default)]
struct Begun {
    line: usize,
    words: Vec<String>,
}

impl<'a> Reader<'a> {
    fn new(include: &'a Include<'a>) -> Reader<'a> {
        Reader { include, open: Vec::new(), bytes: 0 }
    }

    fn file(&mut self, name: Option<&str>, text: &str) -> Result<Vec<Directive>, Unreadable> {
        let mut lexer = Lexer::new(text);
        let place = |line| Place::Line { file: name.map(str::to_owned), line };
        self.open.extend(name.map(str::to_owned));
        let read = self.block(&mut lexer, &[], &place);
        self.open.truncate(self.open.len() - usize::from(name.is_some()));
        read
    }

    /// What stands in a block up to its brace, or in a file up to its end; `open` has the lines of the blocks around
    /// it.
    fn block(
        &mut self,
        lexer: &mut Lexer<'_>,
        open: &[usize],
        place: &dyn Fn(usize) -> Place,
    ) -> Result<Vec<Directive>, Unreadable> {
        let mut directives = Vec::new();
        let mut begun = Begun::default();
        loop {
            let token = lexer.next();
            let refuse = |why: String| Unreadable { place: place(lexer.line()), why };
            let token = token.map_err(refuse)?;
            if begun.words.is_empty() {
                begun.line = lexer.line();
            }
            match token {
                Token::Word(word) => begun.words.push(word),
                Token::End if !begun.words.is_empty() => {
                    return Err(refuse(format!(
                        "the file ends within `{}`; expected `;` or `{{`",
                        begun.words.join(" ")
                    )));
                }
                Token::End => match open.last() {
                    Some(line) => {
                        return Err(refuse(format!("the file ends before the block of line {line} is closed")));
                    }
                    None => return Ok(directives),
                },
                Token::Semicolon | Token::Open if begun.words.is_empty() => {
                    return Err(refuse("unexpected `;` or `{` where a directive is expected".to_owned()));
                }
                Token::Close if !begun.words.is_empty() => {
                    return Err(refuse(format!("unexpected `}}`; `{}` has no `;`", begun.words.join(" "))));
                }
                Token::Close if open.is_empty() => return Err(refuse("unexpected `}`; no block is open".to_owned())),
                Token::Close => return Ok(directives),
                Token::Semicolon => self.simple(std::mem::take(&mut begun), place, &mut directives)?,
                Token::Open => {
                    let begun = std::mem::take(&mut begun);
                    directives.push(self.with_block(lexer, begun, open, place)?);
                }
            }
        }
    }

    fn with_block(
        &mut self,
        lexer: &mut Lexer<'_>,
        begun: Begun,
        open: &[usize],
        place: &dyn Fn(usize) -> Place,
    ) -> Result<Directive, Unreadable> {
        let line = begun.line;
        let mut directive = begun.directive(place);
        if open.len() >= BLOCKS_MAX {
            return Err(directive.refuse(format!("blocks are nested deeper than {BLOCKS_MAX}")));
        }
        directive.block = Some(match directive.name.ends_with("_by_lua_block") {
            true => lexer.skip_lua().map(|()| Vec::new()).map_err(|why| directive.refuse(why))?,
            false => self.block(lexer, &[open, &[line]].concat(), place)?,
        });
        Ok(directive)
    }

    /// A directive without a block; an `include` becomes what it includes.
    fn simple(
        &mut self,
        begun: Begun,
        place: &dyn Fn(usize) -> Place,
        directives: &mut Vec<Directive>,
    ) -> Result<(), Unreadable> {
        let directive = begun.directive(place);
        if directive.name != "include" {
            directives.push(directive);
            return Ok(());
        }
        let [pattern] = directive.args.as_slice() else {
            return Err(directive.refuse("`include` takes one file or pattern"));
        };
        if self.open.len() >= INCLUDES_MAX {
            return Err(directive.refuse(format!("files are included deeper than {INCLUDES_MAX}")));
        }
        for (name, text) in (self.include)(pattern).map_err(|why| directive.refuse(why))? {
            if self.open.contains(&name) {
                return Err(directive.refuse(format!("{name} includes itself")));
            }
            self.bytes += text.len();
            if self.bytes > INCLUDED_BYTES_MAX {
                return Err(directive.refuse(format!("included files add up to over {INCLUDED_BYTES_MAX} bytes")));
            }
            directives.extend(self.file(Some(&name), &text)?);
        }
        Ok(())
    }
}

impl Begun {
    fn directive(self, place: &dyn Fn(usize) -> Place) -> Directive {
        let mut words = self.words.into_iter();
        let name = words.next().unwrap_or_default();
        Directive { place: place(self.line), name, args: words.collect(), block: None }
    }
}

/// Deeper than any configuration, and shallow enough for the stack.
const BLOCKS_MAX: usize = 32;

const INCLUDES_MAX: usize = 16;

/// Of all included files together, each as often as it is included.
const INCLUDED_BYTES_MAX: usize = 16 << 20;

const SHOWN_CHARS_MAX: usize = 80;
