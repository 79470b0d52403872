//! Starts the ranks of a test, and waits for them.

use crate::process::again;
use inverse_flow::distributed::{Group, Place};
use inverse_flow::train::Team;
use std::io::Read;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const RANK_OF: &str = "INVERSE_FLOW_TEST_RANK_OF";
/// After this long a rank that should have ended is a failure.
const LIMIT: Duration = Duration::from_secs(240);

/// How a rank ended.
#[derive(Debug)]
pub struct Ended {
    pub well: bool,
    /// What it printed.
    pub text: String,
}

impl Ended {
    #[track_caller]
    pub fn says(&self, part: &str) {
        assert!(
            self.text.contains(part),
            "{part:?} is not in: {}",
            self.text
        );
    }

    #[track_caller]
    pub fn is_well(&self) {
        assert!(self.well, "{}", self.text);
        // a wrong name would run nothing, and well
        self.says("1 passed");
    }
}

/// What torchrun would set for one of `ranks` processes of this machine.
pub fn environment(rank: usize, ranks: usize, port: &str) -> [(&'static str, String); 7] {
    [
        ("RANK", rank.to_string()),
        ("WORLD_SIZE", ranks.to_string()),
        ("LOCAL_RANK", rank.to_string()),
        ("LOCAL_WORLD_SIZE", ranks.to_string()),
        ("MASTER_ADDR", "127.0.0.1".into()),
        ("MASTER_PORT", port.into()),
        // threads of several processes that wait for each other take the cores from each other
        ("OMP_NUM_THREADS", "1".into()),
    ]
}

/// The processes of a test, with the environment of each.
pub struct Ranks {
    test: (&'static str, &'static str),
    environments: Vec<Vec<(&'static str, String)>>,
    /// Ranks that never end by themselves.
    hanging: Vec<usize>,
}

impl Ranks {
    /// `count` processes in the order of their ranks, with what torchrun would set; they run `test` of `module` again.
    pub fn new(module: &'static str, test: &'static str, count: usize) -> Self {
        let port = free_port().to_string();
        let environment = |rank: usize| {
            let mut environment = vec![(RANK_OF, test.to_owned())];
            environment.extend(self::environment(rank, count, &port));
            environment
        };
        Self {
            test: (module, test),
            environments: (0..count).map(environment).collect(),
            hanging: Vec::new(),
        }
    }

    /// Sets another value for one process.
    pub fn with(mut self, process: usize, name: &'static str, value: &str) -> Self {
        self.environments[process].push((name, value.into()));
        self
    }

    /// Leaves the last process out.
    pub fn without_the_last(mut self) -> Self {
        self.environments.pop();
        self
    }

    /// Process `process` is not waited for, and ended after the others.
    pub fn hanging(mut self, process: usize) -> Self {
        self.hanging.push(process);
        self
    }

    /// How they ended.
    pub fn run(self) -> Vec<Ended> {
        let (module, test) = self.test;
        let start = |environment: &Vec<_>| {
            let mut command: Command = again(module, test);
            command.envs(environment.iter().cloned());
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            command.spawn().unwrap()
        };
        let mut children: Vec<_> = self.environments.iter().map(start).collect();
        let deadline = Instant::now() + LIMIT;
        for (rank, child) in children.iter_mut().enumerate() {
            while !self.hanging.contains(&rank) && child.try_wait().unwrap().is_none() {
                if Instant::now() > deadline {
                    child.kill().unwrap();
                }
                thread::sleep(Duration::from_millis(20));
            }
        }
        for &rank in &self.hanging {
            children[rank].kill().unwrap();
        }
        children.into_iter().map(ended).collect()
    }
}

/// Runs `test` of `module` in `ranks` processes, where `work` is what each does in the group; all of them end well.
#[track_caller]
pub fn in_a_group(
    module: &'static str,
    test: &'static str,
    ranks: usize,
    work: impl FnOnce(&Team),
) {
    if is_rank_of(test) {
        let place = Place::from_env().unwrap().unwrap();
        let team = Team::of(Group::join(&place, LIMIT / 2).unwrap());
        work(&team);
        return team.group().unwrap().barrier().unwrap();
    }
    for ended in Ranks::new(module, test, ranks).run() {
        ended.is_well();
    }
}

/// Whether this process is a rank of `test`.
pub fn is_rank_of(test: &str) -> bool {
    std::env::var_os(RANK_OF).is_some_and(|name| name == test)
}

fn ended(mut child: Child) -> Ended {
    let mut text = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    let well = child.wait().unwrap().success();
    Ended { well, text }
}

/// A port that nobody listens at.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
