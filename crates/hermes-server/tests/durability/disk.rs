//! A disk that does everything a real one may: it forgets what was not synced, tears and reorders
//! it, fails, runs full, and stops in the middle of a call. All by a seed.
//!
//! A process writes into the memory of the machine; only syncs bring that to the disk. So a file is
//! a list of pieces, each of which is durable or not, and the directory is two lists of names: the
//! one that the process sees and the one that is on the disk. A sync that failed leaves pieces that
//! no later sync makes durable, as Linux does.
//!
//! Every call is counted. A test says at which call something goes wrong, and what.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use hermes_server::log::disk::{Disk, DiskFile};

/// The thread that writes snapshots goes one call at a time, when it is told to.
pub(crate) const SNAPSHOT_THREAD: &str = "snapshot";

/// A disk, as one life of the machine sees it. Clones are the same disk.
#[derive(Debug, Clone)]
pub(crate) struct FaultyDisk {
    machine: Arc<Machine>,
    life: u32,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// That one call fails.
    Once,
    /// From that call on there is no room, until the disk is healed: a part of what is appended may
    /// be written.
    Full,
    /// From that call on everything fails, until the disk is healed.
    Broken,
    /// The machine stops in the middle of that call. Nothing works any more in this life.
    Stop,
}

/// How a machine stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crash {
    /// The process is killed: what it wrote stays, though not for good.
    Kill,
    /// The power fails: what was not synced may be gone, in any way.
    Power,
}

#[derive(Debug)]
struct Machine {
    state: Mutex<State>,
    /// Rung when the thread of snapshots may go on, has to wait, or has ended.
    bell: Condvar,
}

#[derive(Debug)]
struct State {
    rng: fastrand::Rng,
    life: u32,
    files: Vec<Vec<Piece>>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// What happened to the names since they were last synced.
    renamings: Vec<Vec<(String, Option<usize>)>>,
    calls: u64,
    fault: Option<(u64, Fault)>,
    has_failed: bool,
    gate: Gate,
}

/// How far the thread of snapshots may go.
#[derive(Debug, Default)]
struct Gate {
    is_open: bool,
    calls: u64,
    is_waiting: bool,
    has_ended: bool,
}

/// What was appended in one go.
#[derive(Debug, Clone)]
struct Piece {
    bytes: Vec<u8>,
    state: PieceState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PieceState {
    Durable,
    Written,
    /// A sync of it failed: the machine believes that it is clean, and the disk may know nothing.
    Lost,
}

/// A file of a [`FaultyDisk`].
#[derive(Debug)]
pub(crate) struct FaultyFile {
    disk: FaultyDisk,
    file: usize,
}

impl FaultyDisk {
    /// An empty disk.
    pub(crate) fn new(seed: u64) -> Self {
        let state = State {
            rng: fastrand::Rng::with_seed(seed),
            life: 0,
            files: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            renamings: Vec::new(),
            calls: 0,
            fault: None,
            has_failed: false,
            gate: Gate::default(),
        };
        let machine = Machine {
            state: Mutex::new(state),
            bell: Condvar::new(),
        };
        Self {
            machine: Arc::new(machine),
            life: 0,
        }
    }

    /// A disk with these files, all durable.
    pub(crate) fn holding(files: &BTreeMap<String, Vec<u8>>) -> Self {
        let disk = Self::new(0);
        let mut state = disk.state();
        for (n, (name, bytes)) in files.iter().enumerate() {
            state.files.push(vec![Piece {
                bytes: bytes.clone(),
                state: PieceState::Durable,
            }]);
            state.names.insert(name.clone(), n);
        }
        state.durable_names = state.names.clone();
        drop(state);
        disk
    }

    /// All files, as the process sees them.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.state();
        let whole = |(name, file): (&String, &usize)| (name.clone(), state.content(*file));
        state.names.iter().map(whole).collect()
    }

    /// How many calls there were.
    pub(crate) fn calls(&self) -> u64 {
        self.state().calls
    }

    /// From the `nth` call from now on, which is the first, something goes wrong.
    pub(crate) fn fail_at(&self, nth: u64, fault: Fault) {
        let mut state = self.state();
        state.fault = Some((state.calls + nth, fault));
    }

    /// Nothing goes wrong any more.
    pub(crate) fn heal(&self) {
        self.state().fault = None;
    }

    /// Whether a call has failed since the last [`FaultyDisk::forgive`].
    pub(crate) fn has_failed(&self) -> bool {
        self.state().has_failed
    }

    /// Forgets that calls have failed.
    pub(crate) fn forgive(&self) {
        self.state().has_failed = false;
    }

    /// Whether the machine has stopped in the middle of a call.
    pub(crate) fn has_stopped(&self) -> bool {
        self.state().life != self.life
    }

    /// Stops the machine, if it has not stopped already, and gives back the disk after it: handles
    /// of the life before are dead.
    pub(crate) fn crash(&self, how: Crash) -> Self {
        let mut state = self.state();
        state.life += 1;
        state.fault = None;
        state.gate = Gate::default();
        if how == Crash::Power {
            state.lose_names();
            state.lose_pieces();
        }
        let life = state.life;
        drop(state);
        self.machine.bell.notify_all();
        Self {
            machine: Arc::clone(&self.machine),
            life,
        }
    }

    /// Lets the thread of snapshots make so many calls, and waits until it has or has ended; whether
    /// it has ended.
    pub(crate) fn let_snapshot_go_on(&self, calls: u64) -> bool {
        let mut state = self.state();
        state.gate.calls += calls;
        self.machine.bell.notify_all();
        let is_busy = |state: &mut State| {
            let gate = &state.gate;
            !(gate.has_ended || gate.is_waiting && gate.calls == 0)
        };
        state = self.machine.bell.wait_while(state, is_busy).unwrap();
        state.gate.has_ended
    }

    /// Lets the thread of snapshots end.
    pub(crate) fn let_snapshot_end(&self) {
        let mut state = self.state();
        state.gate.is_open = true;
        self.machine.bell.notify_all();
        drop(
            self.machine
                .bell
                .wait_while(state, |state| !state.gate.has_ended)
                .unwrap(),
        );
    }

    /// A thread of snapshots is about to begin.
    pub(crate) fn begin_snapshot(&self) {
        self.state().gate = Gate::default();
    }

    /// The thread of snapshots has ended.
    pub(crate) fn end_snapshot(&self) {
        self.state().gate.has_ended = true;
        self.machine.bell.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.machine.state.lock().unwrap()
    }

    /// Counts a call, and says how it goes.
    fn call(&self) -> io::Result<(MutexGuard<'_, State>, Option<Fault>)> {
        let mut state = self.state();
        if std::thread::current().name() == Some(SNAPSHOT_THREAD) {
            let life = self.life;
            state.gate.is_waiting = true;
            self.machine.bell.notify_all();
            let has_to_wait = |state: &mut State| {
                state.life == life && !state.gate.is_open && state.gate.calls == 0
            };
            state = self.machine.bell.wait_while(state, has_to_wait).unwrap();
            state.gate.is_waiting = false;
            state.gate.calls = state.gate.calls.saturating_sub(1);
        }
        if state.life != self.life {
            return Err(io::Error::other("the machine has stopped"));
        }
        state.calls += 1;
        let fault = match state.fault {
            Some((at, fault)) if state.calls == at => Some(fault),
            Some((at, fault)) if state.calls > at && fault != Fault::Once => Some(fault),
            _ => None,
        };
        state.has_failed |= fault.is_some();
        if fault == Some(Fault::Stop) {
            state.life += 1;
        }
        Ok((state, fault))
    }
}

fn failure(fault: Fault) -> io::Error {
    match fault {
        Fault::Full => io::ErrorKind::StorageFull.into(),
        Fault::Stop => io::Error::other("the machine stops"),
        Fault::Once | Fault::Broken => io::Error::other("the disk fails"),
    }
}

impl State {
    fn content(&self, file: usize) -> Vec<u8> {
        let mut content = Vec::new();
        for piece in &self.files[file] {
            content.extend_from_slice(&piece.bytes);
        }
        content
    }

    fn change_names(&mut self, changes: Vec<(String, Option<usize>)>) {
        set_names(&mut self.names, &changes);
        self.renamings.push(changes);
    }

    /// Any of the changes to names since the last sync may have happened, in any order.
    fn lose_names(&mut self) {
        let mut renamings = std::mem::take(&mut self.renamings);
        match self.rng.u8(..4) {
            0 => renamings.clear(),
            1 => renamings.truncate(self.rng.usize(..=renamings.len())),
            2 => renamings.retain(|_| self.rng.bool()),
            _ => {
                renamings.retain(|_| self.rng.u8(..3) > 0);
                self.rng.shuffle(&mut renamings);
            }
        }
        for changes in &renamings {
            set_names(&mut self.durable_names, changes);
        }
        self.names = self.durable_names.clone();
    }

    /// Of what was not synced anything may be there.
    fn lose_pieces(&mut self) {
        let rng = &mut self.rng;
        for pieces in &mut self.files {
            let is_durable = |piece: &Piece| piece.state == PieceState::Durable;
            let keep = pieces.iter().rposition(is_durable).map_or(0, |at| at + 1);
            let how = rng.u8(..5);
            for piece in pieces.iter_mut().filter(|piece| !is_durable(piece)) {
                tear(&mut piece.bytes, how, rng);
            }
            // The end of a file that was never synced may not even be its size.
            if how == 0 {
                pieces.truncate(keep);
            }
            for piece in pieces {
                piece.state = PieceState::Durable;
            }
        }
    }
}

/// What is left of bytes that were not synced.
fn tear(bytes: &mut Vec<u8>, how: u8, rng: &mut fastrand::Rng) {
    match how {
        0 => bytes.fill(0),
        1 => {}
        2 => bytes.truncate(rng.usize(..=bytes.len())),
        // Sectors reach the disk in any order.
        3 => {
            let sector = rng.usize(1..200);
            for part in bytes.chunks_mut(sector) {
                if rng.bool() {
                    part.fill(0);
                }
            }
        }
        _ => {
            let sector = rng.usize(1..200);
            for part in bytes.chunks_mut(sector) {
                if rng.bool() {
                    part.fill_with(|| rng.u8(..));
                }
            }
            bytes.truncate(rng.usize(..=bytes.len()));
        }
    }
}

fn set_names(names: &mut BTreeMap<String, usize>, changes: &[(String, Option<usize>)]) {
    for (name, file) in changes {
        match file {
            Some(file) => drop(names.insert(name.clone(), *file)),
            None => drop(names.remove(name)),
        }
    }
}

impl Disk for FaultyDisk {
    type File = FaultyFile;

    fn list(&self) -> io::Result<Vec<String>> {
        let (state, fault) = self.call()?;
        match fault {
            None | Some(Fault::Full) => Ok(state.names.keys().cloned().collect()),
            Some(fault) => Err(failure(fault)),
        }
    }

    fn create(&self, name: &str) -> io::Result<FaultyFile> {
        let (mut state, fault) = self.call()?;
        // What fails may have happened all the same.
        if fault.is_none() || state.rng.bool() {
            let file = state.files.len();
            state.files.push(Vec::new());
            // A file of that name is replaced by truncating it, which may be durable before anything
            // that is written to it: here it is so at once, the worst that can happen.
            if let Some(old) = state.names.get(name).copied() {
                state.files[old].clear();
            }
            state.change_names(vec![(name.to_owned(), Some(file))]);
            if fault.is_none() {
                return Ok(FaultyFile {
                    disk: self.clone(),
                    file,
                });
            }
        }
        Err(failure(fault.unwrap_or(Fault::Once)))
    }

    fn read(&self, name: &str, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        let (state, fault) = self.call()?;
        if let Some(fault) = fault.filter(|fault| *fault != Fault::Full) {
            return Err(failure(fault));
        }
        let file = state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        let mut content = io::Cursor::new(state.content(*file));
        content.set_position(offset);
        Ok(Box::new(content))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (mut state, fault) = self.call()?;
        let file = state.names.get(from).copied();
        let file = file.ok_or(io::ErrorKind::NotFound)?;
        if fault.is_none() || state.rng.bool() {
            state.change_names(vec![(from.to_owned(), None), (to.to_owned(), Some(file))]);
        }
        fault.map_or(Ok(()), |fault| Err(failure(fault)))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let (mut state, fault) = self.call()?;
        if !state.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let fault = fault.filter(|fault| *fault != Fault::Full);
        if fault.is_none() || state.rng.bool() {
            state.change_names(vec![(name.to_owned(), None)]);
        }
        fault.map_or(Ok(()), |fault| Err(failure(fault)))
    }

    fn bytes(&self) -> io::Result<u64> {
        let sizes = self.files().into_values().map(|bytes| bytes.len() as u64);
        Ok(sizes.sum())
    }

    fn sync_names(&self) -> io::Result<()> {
        let (mut state, fault) = self.call()?;
        if fault.is_none() || state.rng.bool() {
            state.durable_names = state.names.clone();
            state.renamings.clear();
        }
        fault.map_or(Ok(()), |fault| Err(failure(fault)))
    }
}

impl DiskFile for FaultyFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (mut state, fault) = self.disk.call()?;
        let length = match fault {
            None => bytes.len(),
            Some(_) => state.rng.usize(..=bytes.len()),
        };
        state.files[self.file].push(Piece {
            bytes: bytes[..length].to_vec(),
            state: PieceState::Written,
        });
        fault.map_or(Ok(()), |fault| Err(failure(fault)))
    }

    fn sync(&mut self) -> io::Result<()> {
        let (mut state, fault) = self.disk.call()?;
        let becomes = match fault {
            None => PieceState::Durable,
            Some(_) => match state.rng.u8(..3) {
                0 => PieceState::Durable,
                1 => PieceState::Written,
                _ => PieceState::Lost,
            },
        };
        for piece in &mut state.files[self.file] {
            if piece.state == PieceState::Written {
                piece.state = becomes;
            }
        }
        fault.map_or(Ok(()), |fault| Err(failure(fault)))
    }
}
