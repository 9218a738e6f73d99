//! The numbers of routes: a name keeps its number for as long as the process runs, whatever reloads do to the rest.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The numbers of routes, by name. For loading and for showing; a request has its route's number already.
#[derive(Debug, Default)]
pub struct RouteNumbers(Mutex<Vec<String>>);

/// How many routes are told apart that reloads add to those of the start.
pub const SPARE_ROUTES: usize = 64;

impl RouteNumbers {
    /// The number of the route of that name, a new one if need be.
    pub fn number(&self, name: &str) -> usize {
        let mut names = self.lock();
        names.iter().position(|known| known == name).unwrap_or_else(|| {
            names.push(name.to_owned());
            names.len() - 1
        })
    }

    /// Every name, by number.
    pub fn names(&self) -> Vec<String> {
        self.lock().clone()
    }

    /// A list is whole between any two statements.
    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_number() {
        let numbers = RouteNumbers::default();
        assert_eq!(["a", "b", "a", "c", "b"].map(|name| numbers.number(name)), [0, 1, 0, 2, 1]);
        assert_eq!(numbers.names(), ["a", "b", "c"]);
    }
}
