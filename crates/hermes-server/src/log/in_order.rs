//! Work on every processor, with its results in order.
//!
//! A start is bound by what decoding costs, not by the disk. Pieces are given to the workers in turn
//! and their results are taken in that turn, so they need no numbers; and since nobody is more than a
//! piece ahead of whoever takes the results, little is held however long the list of pieces is.

use std::sync::mpsc::sync_channel;
use std::thread;

/// More workers than this would wait for the one who takes their results.
const WORKERS_MAX: usize = 8;
/// Pieces that wait before a worker, and results behind it.
const WAITING: usize = 1;

/// Does `work` on each of `pieces`, on several threads, and gives the results to `take`, on this one and
/// in their order. The pieces are made on a thread of their own, ahead of the work.
///
/// # Errors
/// That of `take`, after which nothing more is done.
pub(super) fn in_order<T: Send, R: Send, E>(
    mut pieces: impl Iterator<Item = T> + Send,
    work: impl Fn(T) -> R + Sync,
    mut take: impl FnMut(R) -> Result<(), E>,
) -> Result<(), E> {
    // A single one is not worth a thread.
    let beginning: Vec<T> = pieces.by_ref().take(2).collect();
    if beginning.len() < 2 {
        return beginning.into_iter().map(&work).try_for_each(take);
    }
    let pieces = beginning.into_iter().chain(pieces);
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let work = &work;
    thread::scope(|scope| {
        let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
        for _ in 0..workers.min(WORKERS_MAX) {
            let (input, given) = sync_channel(WAITING);
            let (done, output) = sync_channel(WAITING);
            inputs.push(input);
            outputs.push(output);
            // Whoever finds the other end gone stops as well.
            scope.spawn(move || {
                given
                    .into_iter()
                    .try_for_each(|piece| done.send(work(piece)))
            });
        }
        scope.spawn(move || {
            let mut turns = pieces.zip(inputs.iter().cycle());
            turns.try_for_each(|(piece, input)| input.send(piece))
        });
        // The first worker that has nothing more to say has had no piece in its turn: it was the end.
        outputs
            .iter()
            .cycle()
            .map_while(|output| output.recv().ok())
            .try_for_each(&mut take)
    })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn results_come_in_the_order_of_their_pieces() {
        for count in [0, 1, 2, 3, 1_000] {
            let mut taken = Vec::new();
            let take = |n| {
                taken.push(n);
                Ok::<_, Infallible>(())
            };
            in_order(0..count, |n| n * 2, take).unwrap();
            let expected: Vec<i32> = (0..count).map(|n| n * 2).collect();
            assert_eq!(taken, expected);
        }
    }

    #[test]
    fn an_error_ends_it_however_many_pieces_there_are() {
        let take = |n| if n == 10 { Err("ten") } else { Ok(()) };
        assert_eq!(in_order(0.., |n: u64| n, take), Err("ten"));
    }
}
