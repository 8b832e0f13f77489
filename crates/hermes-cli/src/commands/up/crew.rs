//! All the programs of a stack: started together, stopped in the reverse order of their needs, and
//! replaced one by one.
//!
//! Nobody gives the signal to start: each waits for what it needs, and that is the order. Only for
//! stopping, and for a rolling restart, somebody has to know them all.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use hermes_core::name::Name;
use hermes_core::time::Moment;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

use super::board::{Board, Key, Line};
use super::stack::Entry;
use crate::commands::run::program::Port;
use crate::commands::run::readiness::Readiness;
use crate::commands::run::supervise::{End, Order, Supervisor, Surroundings};

/// Orders that are not taken up yet; more of them say nothing new.
const ORDERS_MAX: usize = 16;

/// In a rolling restart the next one is ready within this time, or the restart is given up.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// All the programs.
#[derive(Debug)]
pub(super) struct Crew {
    pub(super) entries: Vec<Entry>,
    pub(super) around: Arc<Surroundings>,
    pub(super) board: Arc<Board>,
    pub(super) readiness: watch::Receiver<Readiness>,
    pub(super) bell: Arc<Notify>,
    pub(super) members: BTreeMap<Key, Member>,
    pub(super) tasks: JoinSet<(Key, End)>,
    /// How all of them are to be stopped, once they are.
    pub(super) stop: Option<Order>,
    pub(super) roll: Roll,
    /// One has failed, and nobody had told it to end.
    pub(super) has_failed: bool,
}

/// One that runs.
#[derive(Debug)]
pub(super) struct Member {
    needs: Vec<Name>,
    orders: mpsc::Sender<Order>,
    /// It was told to end.
    is_told: bool,
}

/// A rolling restart: who is still to be replaced, and how far it is with the one before.
#[derive(Debug, Default)]
pub(super) struct Roll {
    is_under_way: bool,
    queue: VecDeque<Key>,
    step: Option<Step>,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    /// A new one is on its way; the old one, if it is still there, serves until then.
    Joining {
        old: Option<Key>,
        new: Key,
        until: Moment,
    },
    /// The old one is being stopped; a new one follows if it holds the port until then.
    Leaving { old: Key, is_followed: bool },
}

impl Crew {
    /// Starts everything.
    pub(super) fn start(&mut self) {
        for place in 0..self.entries.len() {
            for number in 0..self.entries[place].endpoints {
                self.spawn((place, number, 0));
            }
        }
    }

    fn spawn(&mut self, key: Key) {
        let entry = &self.entries[key.0];
        let program = entry.program.clone();
        self.board
            .add(key, label(entry, key.1), program.name.as_str());
        let (orders, received) = mpsc::channel(ORDERS_MAX);
        let member = Member {
            needs: program.all_needs(),
            orders,
            is_told: false,
        };
        self.members.insert(key, member);
        let line = Line {
            board: Arc::clone(&self.board),
            key,
            bell: Arc::clone(&self.bell),
        };
        let supervisor = Supervisor {
            program,
            around: Arc::clone(&self.around),
            audience: Arc::new(line),
            readiness: Some(self.readiness.clone()),
            orders: received,
        };
        self.tasks
            .spawn(async move { (key, supervisor.run().await) });
    }

    /// One has ended.
    pub(super) fn take(&mut self, key: Key, end: &End) {
        let Some(member) = self.members.remove(&key) else {
            return;
        };
        let is_rolling = self.stop.is_none() && member.is_told;
        if is_rolling {
            return self.board.remove(key);
        }
        match end {
            End::Failed { what, hint, .. } => {
                self.board.set(key, "failed", &format!("{what}; {hint}"));
            }
            End::Ended(ending) if end.code() != 0 && !member.is_told => {
                self.board
                    .set(key, "failed", &format!("{ending}; it is not started again"));
            }
            End::Ended(ending) => self.board.set(key, "ended", &ending.to_string()),
            End::Interrupted(_) => self.board.set(key, "ended", "before it was started"),
        }
        self.has_failed |= !member.is_told && end.code() != 0;
    }

    /// Stops everything; once more goes to the next step at once.
    pub(super) fn stop(&mut self, order: Order) {
        self.roll = Roll::default();
        if self.stop.is_none() {
            self.board
                .say("stopping; the same signal once more does not wait any longer");
        }
        self.stop = Some(order);
        for member in self.members.values().filter(|member| member.is_told) {
            // What does not fit is a repetition.
            member.orders.try_send(order).ok();
        }
    }

    /// Replaces everything, one by one.
    pub(super) fn restart(&mut self) {
        if self.stop.is_some() {
            return;
        }
        if self.roll.is_under_way {
            return self.board.say("a rolling restart is under way already");
        }
        self.board.say("rolling restart: one after the other");
        self.roll.is_under_way = true;
        self.roll.queue = self.members.keys().copied().collect();
        // Those first that others need.
        let depths = self.depths();
        self.roll
            .queue
            .make_contiguous()
            .sort_by_key(|key| (depths[key.0], *key));
    }

    /// How many have to be there before each service.
    fn depths(&self) -> Vec<usize> {
        let mut depths = vec![0; self.entries.len()];
        // There are no circles: after so many rounds nothing changes any more.
        for _ in 0..self.entries.len() {
            for at in 0..self.entries.len() {
                let needs = self.entries[at].program.all_needs();
                let others = self.entries.iter().zip(&depths);
                let needed = others.filter(|(other, _)| needs.contains(&other.program.name));
                depths[at] = needed.map(|(_, depth)| depth + 1).max().unwrap_or(0);
            }
        }
        depths
    }

    /// Does what can be done now.
    pub(super) fn advance(&mut self) {
        match self.stop {
            Some(order) => self.stop_whom_nobody_needs(order),
            None => while self.roll_on() {},
        }
    }

    fn stop_whom_nobody_needs(&mut self, order: Order) {
        let needed: Vec<Name> = self
            .members
            .values()
            .flat_map(|member| member.needs.iter().cloned())
            .collect();
        for (key, member) in &mut self.members {
            let name = &self.entries[key.0].program.name;
            if !member.is_told && !needed.contains(name) {
                member.is_told = true;
                member.orders.try_send(order).ok();
            }
        }
    }

    /// Goes on with the rolling restart; whether there may be more to do at once.
    fn roll_on(&mut self) -> bool {
        match self.roll.step {
            None => self.replace_next(),
            Some(Step::Leaving { old, .. }) if self.members.contains_key(&old) => false,
            Some(Step::Leaving { old, is_followed }) => {
                self.roll.step = is_followed.then(|| self.join(old, None));
                true
            }
            Some(Step::Joining { old, new, until }) => {
                let is_late = self.around.clock.moment() >= until;
                if self.board.is_ready(new) {
                    self.roll.step = old.map(|old| self.leave(old, false));
                    return true;
                }
                let is_gone = !self.members.contains_key(&new);
                if is_gone || is_late {
                    self.give_up(old, new);
                }
                false
            }
        }
    }

    fn replace_next(&mut self) -> bool {
        let Some(old) = self.roll.queue.pop_front() else {
            if std::mem::take(&mut self.roll.is_under_way) {
                self.board.say("rolling restart: done");
            }
            return false;
        };
        // Who has ended meanwhile is not brought back.
        if self.members.contains_key(&old) {
            let step = match self.entries[old.0].program.port {
                Port::Auto if self.entries[old.0].program.id.is_none() => self.join(old, Some(old)),
                Port::Auto | Port::Fixed(_) => self.leave(old, true),
            };
            self.roll.step = Some(step);
        }
        true
    }

    /// Starts the one that follows `before`.
    fn join(&mut self, before: Key, old: Option<Key>) -> Step {
        let new = (before.0, before.1, before.2 + 1);
        self.spawn(new);
        let until = self.around.clock.moment().after(READY_WITHIN);
        Step::Joining { old, new, until }
    }

    /// Lets one go.
    fn leave(&mut self, old: Key, is_followed: bool) -> Step {
        if let Some(member) = self.members.get_mut(&old) {
            member.is_told = true;
            member.orders.try_send(Order::Stop).ok();
        }
        Step::Leaving { old, is_followed }
    }

    /// The new one does not become ready: what still runs goes on.
    fn give_up(&mut self, old: Option<Key>, new: Key) {
        self.roll = Roll::default();
        let name = &self.entries[new.0].program.name;
        let what =
            format!("rolling restart: given up, the new {name} is not ready; what runs stays");
        self.board.say(&what);
        if let (Some(_), Some(member)) = (old, self.members.get_mut(&new)) {
            member.is_told = true;
            member.orders.try_send(Order::StopSoon).ok();
        }
    }

    /// When there is something to do although nothing happens.
    pub(super) fn deadline(&self) -> Option<Moment> {
        match self.roll.step {
            Some(Step::Joining { until, .. }) => Some(until),
            _ => None,
        }
    }
}

/// How an endpoint is called on the screen: as its service, with a number where there are several.
pub(super) fn label(entry: &Entry, number: usize) -> String {
    let name = &entry.program.name;
    if entry.endpoints == 1 {
        name.to_string()
    } else {
        format!("{name}.{}", number + 1)
    }
}
