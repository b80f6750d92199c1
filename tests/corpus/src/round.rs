//! A *round* is releases that can be in one cluster at a time: no two have an object of one kind and name.

use std::collections::BTreeSet;

/// Releases of a round: all that they have is in memory at a time, here and in the cluster. A cluster starts in some seconds.
const MAX_RELEASES: usize = 50;

/// What releases have, and which of them; a round each.
#[derive(Default)]
pub(super) struct Rounds {
    rounds: Vec<(BTreeSet<[String; 3]>, Vec<usize>)>,
}

impl Rounds {
    /// Gives a release a place in the first round that has room and nothing of what it has.
    pub(super) fn add(&mut self, release: usize, keys: BTreeSet<[String; 3]>) {
        let fits = |(taken, releases): &&mut (BTreeSet<[String; 3]>, Vec<usize>)| {
            releases.len() < MAX_RELEASES && taken.is_disjoint(&keys)
        };
        match self.rounds.iter_mut().find(fits) {
            Some((taken, releases)) => {
                taken.extend(keys);
                releases.push(release);
            }
            None => self.rounds.push((keys, vec![release])),
        }
    }

    /// The releases of each round.
    pub(super) fn into_releases(self) -> impl ExactSizeIterator<Item = Vec<usize>> {
        self.rounds.into_iter().map(|(_, releases)| releases)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_that_share_an_object_are_in_different_rounds() {
        let mut rounds = Rounds::default();
        let keys = |names: &[&str]| {
            names.iter().map(|name| ["ns".to_owned(), "Job".to_owned(), (*name).to_owned()]).collect()
        };
        for (release, names) in [&["a"][..], &["b"], &["a", "c"], &["c"], &["b"]].iter().enumerate() {
            rounds.add(release, keys(names));
        }
        let releases: Vec<_> = rounds.into_releases().collect();
        assert_eq!(releases, [vec![0, 1, 3], vec![2, 4]]);
    }
}
