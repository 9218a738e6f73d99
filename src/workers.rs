//! What each worker thread has for itself, so that workers do not meet on the path of a request.
//!
//! A thread is given its number when it first asks; it goes by that number for as long as it lives. More threads
//! than places share places, so whatever lies in a [`PerWorker`] must bear company, and is only faster without. What
//! lies in a [`PerThread`] has none: threads that come too late go without.

use std::cell::Cell;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crossbeam_utils::CachePadded;
use thread_local::ThreadLocal;

/// A `T` for each worker, each on cache lines of its own.
pub struct PerWorker<T> {
    first: CachePadded<T>,
    others: Box<[CachePadded<T>]>,
}

impl<T> PerWorker<T> {
    /// Makes one for each of so many workers.
    pub fn new(workers: NonZeroUsize, make: impl Fn() -> T) -> Self {
        let others = (1..workers.get()).map(|_| CachePadded::new(make())).collect();
        Self { first: CachePadded::new(make()), others }
    }

    /// The one of the calling thread.
    pub fn own(&self) -> &T {
        let number = number();
        // A division would cost more than all the rest.
        let place = if number < self.len() { number } else { number % self.len() };
        place.checked_sub(1).and_then(|other| self.others.get(other)).unwrap_or(&self.first)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        std::iter::once(&self.first).chain(&self.others).map(|padded| &**padded)
    }

    /// How many there are.
    #[expect(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        1 + self.others.len()
    }
}

/// A `T` for each of so many threads at a time, which no other thread reaches while that one lives.
pub struct PerThread<T: Send> {
    own: ThreadLocal<Option<T>>,
    /// How many threads may still have one.
    free: AtomicUsize,
}

impl<T: Send> PerThread<T> {
    /// Makes none yet.
    pub fn new(threads: NonZeroUsize) -> Self {
        Self { own: ThreadLocal::new(), free: AtomicUsize::new(threads.get()) }
    }

    /// The one of the calling thread, made now if it has none; `None` if all that there may be are others'. What a
    /// thread leaves behind is taken over as it is by one that starts later.
    pub fn own(&self, make: impl FnOnce() -> T) -> Option<&T> {
        let claim = || self.free.fetch_update(Relaxed, Relaxed, |free| free.checked_sub(1)).is_ok();
        self.own.get_or(|| claim().then(make)).as_ref()
    }
}

/// As many workers as there are unless somebody configures another number: one per core.
pub fn usual() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// The number of the calling thread among all that ever asked.
fn number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: Cell<Option<usize>> = const { Cell::new(None) };
    }
    NUMBER.get().unwrap_or_else(|| {
        let number = NEXT.fetch_add(1, Relaxed);
        NUMBER.set(Some(number));
        number
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_keeps_its_own() {
        let counts = PerWorker::new(NonZeroUsize::MIN.saturating_add(2), || AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let own = counts.own();
                    (0..100).for_each(|_| {
                        assert!(std::ptr::eq(own, counts.own()));
                        own.fetch_add(1, Relaxed);
                    });
                });
            }
        });
        assert_eq!(counts.iter().map(|count| count.load(Relaxed)).sum::<usize>(), 800);
    }

    #[test]
    fn a_thread_is_alone_with_its_own_and_goes_without_when_all_are_taken() {
        let own = PerThread::new(NonZeroUsize::MIN.saturating_add(1));
        let (made, barrier) = (AtomicUsize::new(0), std::sync::Barrier::new(3));
        let number = || Cell::new(made.fetch_add(1, Relaxed));
        let seen: Vec<Option<usize>> = std::thread::scope(|scope| {
            let threads = [(); 3].map(|()| {
                scope.spawn(|| {
                    let mine = own.own(number).map(|cell| cell.replace(cell.get() + 10));
                    barrier.wait();
                    assert_eq!(own.own(number).map(Cell::get), mine.map(|number| number + 10));
                    mine
                })
            });
            threads.map(|thread| thread.join().unwrap()).to_vec()
        });
        let mut had: Vec<usize> = seen.iter().flatten().copied().collect();
        had.sort_unstable();
        assert_eq!((had, made.load(Relaxed)), (vec![0, 1], 2));
    }
}
