//! Real folders and real events, with a poll so rare that only a living watch can answer in time.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::timeout;

use super::*;
use crate::facts::time::Wall;
use crate::reload::sources::{DataKind, DataPath, Sources};

const HOUR: Duration = Duration::from_secs(3600);
const QUIET: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(20);

struct House {
    root: TempDir,
    paths: SourcePaths,
    watch: Watch,
}

impl House {
    fn new() -> Self {
        Self::with(|root| {
            fs::create_dir_all(root.join("conf/scripts/cases")).unwrap();
            fs::write(root.join("conf/scripts/a.rhai"), "one").unwrap();
        })
    }

    fn with(furnish: impl FnOnce(&std::path::Path)) -> Self {
        let root = TempDir::new().unwrap();
        fs::create_dir_all(root.path().join("lists")).unwrap();
        fs::write(root.path().join("lists/block.txt"), "").unwrap();
        fs::write(root.path().join("riskgate.toml"), "").unwrap();
        furnish(root.path());
        let paths = SourcePaths {
            config: Some(root.path().join("riskgate.toml")),
            scripts: root.path().join("conf/scripts"),
            files: vec![DataPath {
                role: "lists.block".into(),
                kind: DataKind::List,
                path: root.path().join("lists/block.txt"),
            }],
        };
        let watch = Watch::start(&paths, Pace::new(QUIET, HOUR));
        Self { root, paths, watch }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Writes a finished copy elsewhere and renames it over the file, as editors do.
    fn replace(&self, name: &str, text: &str) {
        self.write("copy.tmp", text);
        fs::rename(self.path("copy.tmp"), self.path(name)).unwrap();
    }

    fn read(&self) -> Result<Sources, String> {
        let now = || Wall::from_millis(0);
        let read = Sources::read(&self.paths, None, &now, &mut || {});
        read.map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    /// Wakes up, each time because of an event, until the files are as expected; then lets late events pass.
    async fn until(&mut self, what: &str, expected: impl Fn(&Result<Sources, String>) -> bool) {
        let seen = async {
            loop {
                assert_eq!(self.watch.changed().await, Cause::Files);
                if expected(&self.read()) {
                    break;
                }
            }
        };
        assert!(timeout(PATIENCE, seen).await.is_ok(), "nobody noticed: {what}");
        self.calm().await;
    }

    async fn until_script_says(&mut self, text: &str) {
        self.until(text, |read| {
            read.as_ref().is_ok_and(|sources| sources.scripts().first().is_some_and(|it| it.text() == text))
        })
        .await;
    }

    /// Takes wake-ups until there are no more, so that the next one has a cause of its own.
    async fn calm(&mut self) {
        while timeout(QUIET * 5, self.watch.changed()).await.is_ok() {}
    }
}

#[tokio::test]
async fn an_edit_in_place_is_noticed() {
    let mut house = House::new();
    house.write("conf/scripts/a.rhai", "two");
    house.until_script_says("two").await;
}

#[tokio::test]
async fn a_rename_over_a_file_is_noticed_again_and_again() {
    let mut house = House::new();
    for text in ["two", "three", "four"] {
        house.replace("conf/scripts/a.rhai", text);
        house.until_script_says(text).await;
    }
    for text in ["192.0.2.1", "192.0.2.2"] {
        house.replace("lists/block.txt", text);
        house.until(text, |read| read.as_ref().is_ok_and(|sources| sources.data()[0].bytes() == text)).await;
    }
    for text in ["# one", "# two"] {
        house.replace("riskgate.toml", text);
        let says = |sources: &Sources| sources.config().is_some_and(|config| config.text() == text);
        house.until(text, |read| read.as_ref().is_ok_and(says)).await;
    }
}

#[tokio::test]
async fn an_edit_as_vim_does_it_is_noticed() {
    let mut house = House::new();
    for text in ["two", "three"] {
        house.write("conf/scripts/4913", "");
        fs::remove_file(house.path("conf/scripts/4913")).unwrap();
        fs::rename(house.path("conf/scripts/a.rhai"), house.path("conf/scripts/a.rhai~")).unwrap();
        house.write("conf/scripts/a.rhai", text);
        fs::remove_file(house.path("conf/scripts/a.rhai~")).unwrap();
        house.until_script_says(text).await;
    }
}

#[tokio::test]
async fn scripts_and_cases_that_come_and_go_are_noticed() {
    let mut house = House::new();
    house.write("conf/scripts/b.rhai", "");
    house.until("a new script", |read| read.as_ref().is_ok_and(|it| it.scripts().len() == 2)).await;
    fs::remove_file(house.path("conf/scripts/a.rhai")).unwrap();
    house.until("a removed script", |read| read.as_ref().is_ok_and(|it| it.scripts().len() == 1)).await;
    house.write("conf/scripts/cases/a.toml", "");
    house.until("a new case", |read| read.as_ref().is_ok_and(|it| it.cases().len() == 1)).await;
    fs::remove_dir_all(house.path("conf/scripts/cases")).unwrap();
    house.until("no cases", |read| read.as_ref().is_ok_and(|it| it.cases().is_empty())).await;
    fs::create_dir(house.path("conf/scripts/cases")).unwrap();
    house.calm().await;
    house.write("conf/scripts/cases/b.toml", "");
    house.until("a case in a new folder", |read| read.as_ref().is_ok_and(|it| it.cases().len() == 1)).await;
}

#[tokio::test]
async fn a_folder_that_is_deleted_and_made_again_is_watched_again() {
    let mut house = House::new();
    for text in ["two", "three"] {
        fs::remove_dir_all(house.path("conf/scripts")).unwrap();
        house.until("the folder is gone", Result::is_err).await;
        fs::create_dir(house.path("conf/scripts")).unwrap();
        house.calm().await;
        house.write("conf/scripts/a.rhai", text);
        house.until_script_says(text).await;
        house.write("conf/scripts/a.rhai", "edited");
        house.until_script_says("edited").await;
    }
}

#[tokio::test]
async fn a_tree_that_is_deleted_and_made_again_is_watched_again() {
    let mut house = House::new();
    fs::remove_dir_all(house.path("conf")).unwrap();
    house.until("the tree is gone", Result::is_err).await;
    fs::create_dir(house.path("conf")).unwrap();
    house.calm().await;
    fs::create_dir(house.path("conf/scripts")).unwrap();
    house.calm().await;
    house.write("conf/scripts/a.rhai", "two");
    house.until_script_says("two").await;
}

#[tokio::test]
async fn a_folder_that_is_replaced_by_another_is_watched_instead() {
    let mut house = House::new();
    fs::create_dir(house.path("conf/new")).unwrap();
    house.write("conf/new/a.rhai", "two");
    fs::rename(house.path("conf/scripts"), house.path("conf/old")).unwrap();
    fs::rename(house.path("conf/new"), house.path("conf/scripts")).unwrap();
    house.until_script_says("two").await;
    house.write("conf/scripts/a.rhai", "three");
    house.until_script_says("three").await;
    // The old one no longer matters.
    house.write("conf/old/a.rhai", "old");
    assert!(timeout(QUIET * 5, house.watch.changed()).await.is_err());
}

#[tokio::test]
async fn a_tree_that_was_moved_unheard_is_left_for_the_new_one_at_the_next_poll() {
    let mut house = House::new();
    for tree in ["x", "new"] {
        fs::create_dir_all(house.path(&format!("{tree}/y/z/scripts"))).unwrap();
        house.write(&format!("{tree}/y/z/scripts/a.rhai"), tree);
    }
    house.paths.scripts = house.path("x/y/z/scripts");
    house.watch.follow(&house.paths).await;
    house.calm().await;
    fs::rename(house.path("x"), house.path("old")).unwrap();
    fs::rename(house.path("new"), house.path("x")).unwrap();
    // In place of the poll.
    house.watch.trigger().signal();
    assert_eq!(house.watch.changed().await, Cause::Signal);
    house.calm().await;
    house.write("old/y/z/scripts/a.rhai", "nobody cares");
    assert!(timeout(QUIET * 5, house.watch.changed()).await.is_err());
    house.write("x/y/z/scripts/a.rhai", "edited");
    house.until_script_says("edited").await;
}

#[tokio::test]
async fn a_swap_as_kubernetes_does_it_is_noticed_again_and_again() {
    let swap = |scripts: &std::path::Path, text: &str| {
        fs::create_dir_all(scripts.join(format!("..{text}"))).unwrap();
        fs::write(scripts.join(format!("..{text}/a.rhai")), text).unwrap();
        symlink(format!("..{text}"), scripts.join("..data_tmp")).unwrap();
        let before = fs::read_link(scripts.join("..data"));
        fs::rename(scripts.join("..data_tmp"), scripts.join("..data")).unwrap();
        before.map(|before| fs::remove_dir_all(scripts.join(before)).unwrap()).ok();
    };
    let mut house = House::with(|root| {
        swap(&root.join("conf/scripts"), "one");
        symlink("..data/a.rhai", root.join("conf/scripts/a.rhai")).unwrap();
    });
    for text in ["two", "three", "four"] {
        swap(&house.path("conf/scripts"), text);
        house.until_script_says(text).await;
    }
}

#[tokio::test]
async fn a_link_that_is_turned_to_another_release_is_noticed_again_and_again() {
    let mut house = House::with(|root| {
        for release in ["one", "two", "three"] {
            fs::create_dir_all(root.join("releases").join(release).join("scripts")).unwrap();
            fs::write(root.join("releases").join(release).join("scripts/a.rhai"), release).unwrap();
        }
        symlink("releases/one", root.join("conf")).unwrap();
    });
    for release in ["two", "three"] {
        symlink(format!("releases/{release}"), house.path("next")).unwrap();
        fs::rename(house.path("next"), house.path("conf")).unwrap();
        house.until_script_says(release).await;
    }
    house.write("releases/three/scripts/a.rhai", "edited");
    house.until_script_says("edited").await;
}

#[tokio::test]
async fn files_that_the_configuration_names_anew_are_followed() {
    let mut house = House::new();
    fs::create_dir(house.path("other")).unwrap();
    house.write("other/allow.txt", "");
    house.calm().await;
    house.paths.files[0].path = house.path("other/allow.txt");
    house.watch.follow(&house.paths).await;
    house.write("lists/block.txt", "nobody cares");
    assert!(timeout(QUIET * 5, house.watch.changed()).await.is_err());
    house.write("other/allow.txt", "x");
    house.until("x", |read| read.as_ref().is_ok_and(|sources| sources.data()[0].bytes() == "x")).await;
}

#[tokio::test]
async fn reading_everything_wakes_nobody() {
    let mut house = House::new();
    house.calm().await;
    for _ in 0..10 {
        house.read().unwrap();
    }
    assert!(timeout(QUIET * 5, house.watch.changed()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_trigger_answers_at_once_and_says_why() {
    let mut house = House::new();
    let trigger = house.watch.trigger();
    let start = Instant::now();
    trigger.signal();
    trigger.signal();
    assert_eq!(house.watch.changed().await, Cause::Signal);
    trigger.request();
    assert_eq!(house.watch.changed().await, Cause::Request);
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(house.watch.changed().await, Cause::Poll);
    assert_eq!(start.elapsed(), HOUR);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_when_a_wait_is_dropped() {
    let mut house = House::new();
    let start = Instant::now();
    // Dropped again and again, the poll is due when it would have been.
    while timeout(HOUR / 7, house.watch.changed()).await.is_err() {}
    assert_eq!(start.elapsed(), HOUR);
    house.watch.trigger().request();
    // Most likely dropped after it heard the trigger and before it told.
    let cause = match timeout(Duration::ZERO, house.watch.changed()).await {
        Ok(cause) => cause,
        Err(_dropped) => house.watch.changed().await,
    };
    assert_eq!(cause, Cause::Request);
}
