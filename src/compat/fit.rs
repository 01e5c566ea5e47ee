//! Which placement explains best where a log has its keys.

use crate::cluster::node::Node;
use crate::compat::sample::Sample;
use crate::compat::sample::Sighting;
use crate::compat::tally::Compared;
use crate::compat::tally::members;
use crate::compat::trial::Ids;
use crate::compat::trial::Trial;
use crate::compat::trial::trials;
use crate::compat::written_rule::WrittenRule;
use crate::placement::BuildError;
use crate::placement::Placement;
use crate::placement::PlacementSettings;
use std::borrow::Cow;

/// What came of all trials.
#[derive(Debug)]
pub struct Fits {
    /// The best first. Of equals the pool's own key rule and placement come before what takes more changes.
    pub fits: Vec<Fit>,
    /// What cannot be built of the nodes.
    pub left_out: Vec<LeftOut>,
}

/// How well a placement explains a log.
#[derive(Clone, Debug)]
pub struct Fit {
    /// The placement.
    pub settings: PlacementSettings,
    /// What was hashed for the nodes.
    pub ids: Ids,
    /// How keys were read.
    pub rule: WrittenRule,
    /// Whether that is not how the pool reads them.
    pub is_other_rule: bool,
    /// How many keys were looked at.
    pub keys: usize,
    /// How many of them it puts where the log has them.
    pub alike: usize,
    /// The part of them that would be alike by chance, 0 to 1: were the keys of the log dealt out anew.
    pub chance: f64,
}

/// A placement that cannot be built of the nodes.
#[derive(Clone, Debug)]
pub struct LeftOut {
    /// The placement.
    pub settings: PlacementSettings,
    /// Why.
    pub why: BuildError,
}

impl Fits {
    /// Tries everything on a bounded number of the keys of a log; those of servers that are no nodes can fit nothing.
    pub fn find(compared: Compared<'_>, sample: &Sample) -> Fits {
        let readings = Reading::all(compared, sample);
        let mut fits = Fits { fits: Vec::new(), left_out: Vec::new() };
        for trial in trials(compared.placement.settings(), compared.nodes) {
            match Placement::build(trial.settings, trial.nodes.clone()) {
                Ok(placement) => {
                    let of_reading = |reading| Fit::of(&trial, &placement, reading, compared.nodes);
                    fits.fits.extend(readings.iter().map(of_reading));
                }
                Err(why) if fits.left_out.last().is_none_or(|last| last.settings != trial.settings) => {
                    fits.left_out.push(LeftOut { settings: trial.settings, why });
                }
                Err(_) => {}
            }
        }
        let tried: Vec<PlacementSettings> = fits.fits.iter().map(|fit| fit.settings).collect();
        fits.left_out.retain(|left_out| !tried.contains(&left_out.settings));
        fits.fits.sort_by_key(|fit| (fit.keys - fit.alike, fit.is_other_rule, fit.ids));
        fits
    }

    /// The best, where it is more than chance.
    pub fn best(&self) -> Option<&Fit> {
        self.fits.first().filter(|fit| fit.is_more_than_chance())
    }
}

impl Fit {
    fn of(trial: &Trial, placement: &Placement, reading: &Reading<'_>, nodes: &[Node]) -> Fit {
        let members = members(placement, nodes);
        let (mut alike, mut placed) = (0, vec![0_usize; nodes.len()]);
        for (key, logged) in &reading.keys {
            let owner =
                key.as_deref().and_then(|key| placement.owner(placement.position(reading.rule.rule.hashed(key))));
            if let Some(owner) = owner.map(|owner| members[owner]) {
                placed[owner] += 1;
                alike += usize::from(owner == *logged);
            }
        }
        let keys = reading.keys.len();
        let parts =
            placed.iter().zip(&reading.logged).map(|(placed, logged)| part(*placed, keys) * part(*logged, keys));
        Fit {
            settings: trial.settings,
            ids: trial.ids,
            rule: reading.rule.clone(),
            is_other_rule: reading.is_other,
            keys,
            alike,
            chance: parts.sum(),
        }
    }

    /// The part of the keys that is where the log has it, 0 to 1.
    pub fn ratio(&self) -> f64 {
        part(self.alike, self.keys)
    }

    /// The placement-ids that nodes need and do not have, each with the name of its node; `None`: none at all.
    pub fn placement_ids(&self, nodes: &[Node]) -> Vec<(String, Option<String>)> {
        self.ids.wanted(self.settings, nodes)
    }

    /// Whether it can hardly be by chance: most of what chance leaves is explained, and by so many keys that none of
    /// the hundreds of trials would come to that by luck.
    pub fn is_more_than_chance(&self) -> bool {
        let (ratio, chance) = (self.ratio(), self.chance);
        let deviation = (chance * (1.0 - chance) / self.keys.max(1) as f64).sqrt();
        ratio - chance >= EXPLAINED_MIN * (1.0 - chance) && ratio - chance > DEVIATIONS_MIN * deviation
    }
}

/// The keys of a log as one rule reads them, each with its node.
struct Reading<'s> {
    rule: WrittenRule,
    is_other: bool,
    /// Without a key where the rule finds none.
    keys: Vec<(Option<Cow<'s, [u8]>>, usize)>,
    /// How many keys each node has.
    logged: Vec<usize>,
}

impl<'s> Reading<'s> {
    /// That of the pool's own rule, and those of the rules that are easily taken for it.
    fn all(compared: Compared<'_>, sample: &'s Sample) -> Vec<Reading<'s>> {
        let own = |sighting: &'s Sighting| Some((Some((&*sighting.key).into()), sighting.node()?));
        let mut readings = vec![Reading::of(compared, compared.rule.clone(), sample, own)];
        for rule in compared.rule.others(compared.logged) {
            // Another rule may give one key to requests that are several here, so it is asked about one line.
            let key = |sighting: &Sighting| rule.key(compared.logged, sighting.first_text()).ok().map(Into::into);
            let read = |sighting: &'s Sighting| Some((key(sighting), sighting.first_node?));
            readings.push(Reading::of(compared, rule.clone(), sample, read));
        }
        readings
    }

    fn of(
        compared: Compared<'_>,
        rule: WrittenRule,
        sample: &'s Sample,
        read: impl Fn(&'s Sighting) -> Option<(Option<Cow<'s, [u8]>>, usize)>,
    ) -> Reading<'s> {
        let keys: Vec<_> = sample.sightings().filter_map(read).take(KEYS_TRIED).collect();
        let mut logged = vec![0; compared.nodes.len()];
        keys.iter().for_each(|(_, node)| logged[*node] += 1);
        Reading { is_other: rule != *compared.rule, rule, keys, logged }
    }
}

fn part(number: usize, of: usize) -> f64 {
    number as f64 / of.max(1) as f64
}

/// How many keys a placement is tried on: enough to tell apart what differs in a key of a thousand.
pub const KEYS_TRIED: usize = 2_000;

/// How much of what chance leaves has to be explained. Less than that would be a guess; more would keep from naming the
/// right placement where a node or a weight of the config is not that of the original.
const EXPLAINED_MIN: f64 = 0.5;

/// How many standard deviations from chance are no luck, though some hundred placements are tried.
const DEVIATIONS_MIN: f64 = 6.0;
