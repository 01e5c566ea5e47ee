//! How a pool finds the keys of its requests, as its part of the config file says.

use crate::proxy::seed_file::SeedFile;
use crate::routing::key::KeyRule;
use crate::section::Mistake;
use crate::section::Section;
use crate::section::Value;

/// `key`, `hash-tag` and `seed-file`, read and as written.
pub(super) struct WrittenKey {
    pub(super) rule: KeyRule,
    pub(super) sources: Vec<Vec<String>>,
    pub(super) hash_tag: Option<String>,
    pub(super) seed_file: Option<SeedFile>,
}

impl WrittenKey {
    /// Those of one `[[pool]]`; `None` when any of it is wrong.
    pub(super) fn read(section: &mut Section<'_>, max_key_body: usize) -> Option<WrittenKey> {
        let hash_tag = section.string("hash-tag");
        let seed_file = section.parse("seed-file", SeedFile::read);
        let values = section.required("key", "key = [\"header:x-room\"]")?.one_or_more();
        let values: Vec<Vec<Value<'_>>> = values.into_iter().map(Value::one_or_more).collect();
        let strings = |parts: &Vec<Value<'_>>| parts.iter().map(Value::string).collect::<Option<Vec<String>>>();
        let sources: Vec<Vec<String>> = values.iter().map(strings).collect::<Option<_>>()?;
        let rule = KeyRule::parse(&sources, hash_tag.as_deref());
        let errors = match rule.and_then(|rule| rule.within(max_key_body).map_err(|error| vec![error])) {
            Ok(rule) => {
                let rule = rule.seeded(seed_file.as_ref().map(|file| file.seed));
                return Some(WrittenKey { rule, sources, hash_tag, seed_file });
            }
            Err(errors) => errors,
        };
        for error in errors {
            let part = error.alternative.and_then(|alternative| values[alternative].get(error.part));
            let place = match (part, error.alternative) {
                (Some(part), _) => part.place(),
                (None, None) if !sources.is_empty() => section.place_of("hash-tag"),
                (None, _) => section.place_of("key"),
            };
            section.report(Mistake::new(place, error.message));
        }
        None
    }
}

/// One source, or the list of those that are joined.
pub(super) fn print_source(parts: &[String]) -> toml::Value {
    match parts {
        [source] => source.as_str().into(),
        parts => parts.to_vec().into(),
    }
}
