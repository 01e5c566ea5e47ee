//! Changes in plain words, `add c=10.0.0.12:3000 drain a weight b=3`: read from the command line, and written for it.

use crate::cluster::membership::Change;
use crate::cluster::node::Node;
use crate::cluster::node::NodeAddress;
use crate::cluster::node::NodeName;
use crate::control::settings::parse_node_argument;
use crate::section::nearest;

/// Reads changes. Each word of [`WORDS`] is followed by one operand or several; the first operand is taken as it is,
/// also when it is such a word itself, so that every node can be named.
///
/// # Errors
/// A sentence that says which word is wrong and what to write.
pub(super) fn parse(words: &[String]) -> Result<Vec<Change>, String> {
    let mut changes = Vec::new();
    let mut rest = words;
    while let [verb, after @ ..] = rest {
        let verb = Verb::parse(verb)?;
        let Some((first, more)) = after.split_first() else {
            return Err(format!("`{}` needs an operand: {}", verb.word(), verb.form()));
        };
        let length = more.iter().take_while(|word| Verb::parse(word).is_err()).count();
        let (more, next) = more.split_at(length);
        match verb {
            Verb::Placement => changes.push(parse_placement(first, more)?),
            _ => {
                changes.push(verb.change(first)?);
                for operand in more {
                    changes.push(verb.change(operand).map_err(|error| hint(operand, error))?);
                }
            }
        }
        rest = next;
    }
    match changes.is_empty() {
        true => Err(format!("no change is given; write some of: {}", forms().join(", "))),
        false => Ok(changes),
    }
}

/// The words that [`parse`] reads as these changes, each quoted for a POSIX shell where it needs to be.
pub(super) fn print(changes: &[Change]) -> String {
    let words: Vec<String> = changes.iter().flat_map(words_of).map(|word| quoted(&word)).collect();
    words.join(" ")
}

/// Flags as given, each behind a blank, for a command that is suggested.
pub(super) fn flags(flags: &[String]) -> String {
    flags.iter().map(|flag| format!(" {}", quoted(flag))).collect()
}

/// One word for a POSIX shell: in single quotes unless it is made of harmless characters.
fn quoted(word: &str) -> String {
    let is_harmless = |c: char| c.is_ascii_alphanumeric() || "-_=+.,:/@%".contains(c);
    match !word.is_empty() && word.chars().all(is_harmless) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// What can be done, in the order in which it is listed.
#[derive(Clone, Copy)]
enum Verb {
    Add,
    Remove,
    Drain,
    Undrain,
    Weight,
    Address,
    Zone,
    Placement,
}

impl Verb {
    fn parse(word: &str) -> Result<Verb, String> {
        let known = WORDS.into_iter().find(|verb| verb.word() == word);
        known.ok_or_else(|| match nearest(word, WORDS.map(Verb::word)) {
            Some(name) => format!("`{word}` is no change; did you mean `{name}`?"),
            None => format!("`{word}` is no change; write one of: {}", forms().join(", ")),
        })
    }

    fn word(self) -> &'static str {
        match self {
            Verb::Add => "add",
            Verb::Address => "address",
            Verb::Drain => "drain",
            Verb::Placement => "placement",
            Verb::Remove => "remove",
            Verb::Undrain => "undrain",
            Verb::Weight => "weight",
            Verb::Zone => "zone",
        }
    }

    fn form(self) -> &'static str {
        match self {
            Verb::Add => "add NAME=ADDRESS[,weight=W][,zone=Z][,placement-id=I]",
            Verb::Address => "address NAME=ADDRESS",
            Verb::Drain => "drain NAME",
            Verb::Placement => "placement KIND [SETTING=VALUE...]",
            Verb::Remove => "remove NAME",
            Verb::Undrain => "undrain NAME",
            Verb::Weight => "weight NAME=W",
            Verb::Zone => "zone NAME=Z",
        }
    }

    fn change(self, operand: &str) -> Result<Change, String> {
        Ok(match self {
            Verb::Add => Change::Add(parse_node_argument(operand)?),
            Verb::Address => {
                let (name, address) = self.name_and_value(operand)?;
                Change::Address { name, address: address.parse::<NodeAddress>()? }
            }
            Verb::Drain => Change::Drain { name: operand.parse()? },
            Verb::Placement => parse_placement(operand, &[])?,
            Verb::Remove => Change::Remove { name: operand.parse()? },
            Verb::Undrain => Change::Undrain { name: operand.parse()? },
            Verb::Weight => {
                let (name, weight) = self.name_and_value(operand)?;
                let weight = weight.parse();
                let weight = weight.map_err(|_| format!("the weight in `{operand}` is not a whole number"))?;
                Change::Weight { name, weight }
            }
            Verb::Zone => {
                let (name, zone) = self.name_and_value(operand)?;
                Change::Zone { name, zone: Some(zone.to_owned()).filter(|zone| !zone.is_empty()) }
            }
        })
    }

    fn name_and_value(self, operand: &str) -> Result<(NodeName, &str), String> {
        let parts = operand.split_once('=');
        let (name, value) = parts.ok_or_else(|| format!("`{operand}` has no `=`; write {}", self.form()))?;
        Ok((name.parse()?, value))
    }
}

/// A placement may be one word in quotes or several.
fn parse_placement(first: &str, more: &[String]) -> Result<Change, String> {
    let words: Vec<&str> = std::iter::once(first).chain(more.iter().map(String::as_str)).collect();
    words.join(" ").parse().map(Change::Placement)
}

/// A second operand that cannot be read may be a mistyped change.
fn hint(operand: &str, error: String) -> String {
    match nearest(operand, WORDS.map(Verb::word)) {
        Some(name) => format!("{error} (if `{operand}` begins another change, did you mean `{name}`?)"),
        None => error,
    }
}

fn forms() -> Vec<&'static str> {
    WORDS.map(Verb::form).to_vec()
}

fn words_of(change: &Change) -> Vec<String> {
    let pair = |verb: Verb, operand: String| vec![verb.word().to_owned(), operand];
    match change {
        Change::Add(node) => add_words(node),
        Change::Address { name, address } => pair(Verb::Address, format!("{name}={address}")),
        Change::Drain { name } => pair(Verb::Drain, name.to_string()),
        Change::Placement(settings) => pair(Verb::Placement, settings.to_string()),
        Change::Remove { name } => pair(Verb::Remove, name.to_string()),
        Change::Undrain { name } => pair(Verb::Undrain, name.to_string()),
        Change::Weight { name, weight } => pair(Verb::Weight, format!("{name}={weight}")),
        Change::Zone { name, zone } => pair(Verb::Zone, format!("{name}={}", zone.as_deref().unwrap_or_default())),
    }
}

/// A node that is added draining takes a second change: the words of one node have no place for its state.
fn add_words(node: &Node) -> Vec<String> {
    let mut operand = format!("{}={}", node.name, node.address);
    if node.weight != 1 {
        operand.push_str(&format!(",weight={}", node.weight));
    }
    let parts = [("zone", &node.zone), ("placement-id", &node.placement_id)];
    for (name, value) in parts.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))) {
        operand.push_str(&format!(",{name}={value}"));
    }
    let mut words = vec![Verb::Add.word().to_owned(), operand];
    if node.draining {
        words.extend([Verb::Drain.word().to_owned(), node.name.to_string()]);
    }
    words
}

/// How to write changes, for `--help`.
pub(super) const HELP: &str = "\
Changes in plain words, several as one:
  add NAME=ADDRESS[,weight=W][,zone=Z][,placement-id=I]
  remove NAME    drain NAME    undrain NAME
  weight NAME=W    address NAME=ADDRESS    zone NAME=Z
  placement KIND [SETTING=VALUE...]";

const WORDS: [Verb; 8] =
    [Verb::Add, Verb::Remove, Verb::Drain, Verb::Undrain, Verb::Weight, Verb::Address, Verb::Zone, Verb::Placement];

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn what_is_read_is_written_the_same() {
        for line in [
            "add c=10.0.0.12:3000,weight=2,zone=b",
            "add c=host:80,placement-id=7 remove a",
            "drain b undrain b weight b=3 address b=10.0.0.9:1 zone b=z zone b= placement ring",
            "drain drain remove add",
        ] {
            let changes = parse(&words(line)).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(print(&changes), line);
        }
    }

    #[test]
    fn one_word_may_have_several_operands() {
        let changes = parse(&words("drain a b placement ring vnodes=64 remove c")).unwrap();
        assert_eq!(print(&changes), "drain a drain b placement 'ring vnodes=64' remove c");
        let changes = parse(&words("placement table slots=262144 cap=1.05 drain a")).unwrap();
        assert_eq!(print(&changes), "placement 'table slots=262144 cap=1.05' drain a");
    }

    #[test]
    fn mistakes_say_what_to_write() {
        for (line, expected) in [
            ("ad c=10.0.0.12:3000", "did you mean `add`?"),
            ("frobnicate", "write one of: add NAME=ADDRESS"),
            ("drain", "drain NAME"),
            ("weight b", "weight NAME=W"),
            ("weight b=x", "whole number"),
            ("add c", "NAME=ADDRESS"),
            ("placement rign", "did you mean `ring`?"),
            ("weight a=1 drian b", "did you mean `drain`?"),
        ] {
            let error = parse(&words(line)).unwrap_err();
            assert!(error.contains(expected), "{line}: {error}");
        }
        assert!(parse(&[]).unwrap_err().contains("no change is given"));
    }

    #[test]
    fn a_shell_reads_a_quoted_word_as_it_was() {
        for (word, text) in [
            ("a=1", "a=1"),
            ("", "''"),
            ("two words", "'two words'"),
            ("it's", r"'it'\''s'"),
            ("$(x)", "'$(x)'"),
            ("c=[::1]:80", "'c=[::1]:80'"),
        ] {
            assert_eq!(quoted(word), text, "{word}");
        }
    }
}
