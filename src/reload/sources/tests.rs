//! Sources are read from real folders; the clock and the pause are the test's own.

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use tempfile::TempDir;

use super::*;

/// A folder with a configuration, two scripts, a case and a list.
struct House {
    root: TempDir,
}

impl House {
    fn new() -> Self {
        let house = Self { root: TempDir::new().unwrap() };
        fs::create_dir_all(house.path("scripts/cases")).unwrap();
        fs::create_dir(house.path("lists")).unwrap();
        house.write("riskgate.toml", "[server]");
        house.write("scripts/20-b.rhai", "b");
        house.write("scripts/10-a.rhai", "a");
        house.write("scripts/cases/a.toml", "case");
        house.write("lists/block.txt", "192.0.2.1");
        house
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).unwrap();
    }

    fn paths(&self) -> SourcePaths {
        SourcePaths {
            config: Some(self.path("riskgate.toml")),
            scripts: self.path("scripts"),
            files: vec![DataPath {
                role: "lists.block".into(),
                kind: DataKind::List,
                path: self.path("lists/block.txt"),
            }],
        }
    }

    fn read(&self) -> Result<Sources, Vec<Problem>> {
        self.read_after(None)
    }

    fn read_after(&self, previous: Option<&Sources>) -> Result<Sources, Vec<Problem>> {
        Sources::read(&self.paths(), previous, &long_after, &mut || {})
    }

    fn digest(&self) -> Digest {
        self.read().unwrap().digest()
    }

    /// The only problem, with paths relative to the folder.
    fn problem(&self) -> String {
        let problems = self.read().unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        problems[0].to_string().replace(&format!("{}/", self.root.path().display()), "")
    }
}

/// A moment at which everything written by the test has long been quiet.
fn long_after() -> Wall {
    Wall::from_millis(u64::MAX / 2)
}

/// A moment at which everything was written just now.
fn just_now() -> Wall {
    Wall::from_millis(0)
}

fn names(texts: &[Text]) -> Vec<&str> {
    texts.iter().map(Text::name).collect()
}

#[test]
fn everything_is_read_in_the_order_of_names() {
    let house = House::new();
    let sources = house.read().unwrap();
    assert_eq!(sources.config().unwrap().text(), "[server]");
    assert_eq!(names(sources.scripts()), ["10-a.rhai", "20-b.rhai"]);
    assert_eq!(sources.scripts()[1].text(), "b");
    assert_eq!(sources.scripts()[1].path(), house.path("scripts/20-b.rhai"));
    assert_eq!(names(sources.cases()), ["a.toml"]);
    assert_eq!(sources.role("lists.block").unwrap().bytes(), "192.0.2.1");
    assert!(sources.role("lists.other").is_none());
}

#[test]
fn the_digest_changes_with_every_name_and_content_and_returns_with_them() {
    let house = House::new();
    let first = house.digest();
    let mut seen = vec![first];
    let mut changed = |what: &str| {
        let digest = house.digest();
        assert!(!seen.contains(&digest), "{what}");
        seen.push(digest);
    };
    house.write("scripts/30-c.rhai", "c");
    changed("a script was added");
    fs::rename(house.path("scripts/30-c.rhai"), house.path("scripts/05-c.rhai")).unwrap();
    changed("a script was renamed");
    house.write("scripts/10-a.rhai", "A");
    changed("a script was edited");
    house.write("scripts/cases/a.toml", "CASE");
    changed("a case was edited");
    house.write("lists/block.txt", "192.0.2.2");
    changed("a list was edited");
    house.write("riskgate.toml", "");
    changed("the configuration was emptied");
    fs::remove_file(house.path("scripts/05-c.rhai")).unwrap();
    changed("a script was removed");

    house.write("scripts/10-a.rhai", "a");
    house.write("scripts/cases/a.toml", "case");
    house.write("lists/block.txt", "192.0.2.1");
    house.write("riskgate.toml", "[server]");
    assert_eq!(house.digest(), first);
}

#[test]
fn no_configuration_is_not_an_empty_one() {
    let house = House::new();
    house.write("riskgate.toml", "");
    let none = SourcePaths { config: None, ..house.paths() };
    let none = Sources::read(&none, None, &long_after, &mut || {}).unwrap();
    assert!(none.config().is_none());
    assert_ne!(none.digest(), house.digest());
}

#[test]
fn touching_a_file_changes_nothing() {
    let house = House::new();
    let first = house.read().unwrap();
    for name in ["riskgate.toml", "scripts/10-a.rhai", "lists/block.txt"] {
        let text = fs::read(house.path(name)).unwrap();
        house.write("copy", text);
        fs::rename(house.path("copy"), house.path(name)).unwrap();
    }
    assert_eq!(house.read_after(Some(&first)).unwrap().digest(), first.digest());
}

#[test]
fn leftovers_of_editors_are_passed_over() {
    let house = House::new();
    let first = house.digest();
    for name in
        [".#10-a.rhai", "10-a.rhai~", ".10-a.rhai.swp", "4913", "#10-a.rhai#", "notes.md", ".new.rhai"]
    {
        house.write(&format!("scripts/{name}"), "\u{0}");
    }
    symlink("nobody@nowhere", house.path("scripts/.#20-b.rhai")).unwrap();
    assert_eq!(house.digest(), first);
}

#[test]
fn scripts_without_cases_are_fine() {
    let house = House::new();
    fs::remove_dir_all(house.path("scripts/cases")).unwrap();
    assert!(house.read().unwrap().cases().is_empty());
}

#[test]
fn links_are_followed() {
    let house = House::new();
    fs::create_dir(house.path("elsewhere")).unwrap();
    house.write("elsewhere/c", "c");
    symlink("../elsewhere/c", house.path("scripts/30-c.rhai")).unwrap();
    assert_eq!(house.read().unwrap().scripts()[2].text(), "c");
}

#[test]
fn every_problem_is_reported_at_once_and_says_what_to_do() {
    let house = House::new();
    house.write("scripts/10-a.rhai", b"ok\n  \xff");
    symlink("gone", house.path("scripts/30-c.rhai")).unwrap();
    fs::create_dir(house.path("scripts/40-d.rhai")).unwrap();
    fs::remove_file(house.path("riskgate.toml")).unwrap();
    fs::remove_file(house.path("lists/block.txt")).unwrap();
    house.write("scripts/cases/a.toml", b"\xff");
    let problems = house.read().unwrap_err();
    let root = format!("{}/", house.root.path().display());
    let lines: Vec<_> = problems.iter().map(|problem| problem.to_string().replace(&root, "")).collect();
    assert_eq!(
        lines,
        [
            "riskgate.toml: the file does not exist; create it, or correct the path in the configuration",
            "scripts/10-a.rhai:2:3: not UTF-8 text; save the file with the encoding UTF-8",
            "scripts/30-c.rhai: a symbolic link to `gone`, which does not exist; mend or remove the link",
            "scripts/40-d.rhai: a folder where a file is expected; name a file",
            "scripts/cases/a.toml:1:1: not UTF-8 text; save the file with the encoding UTF-8",
            "lists/block.txt: the file does not exist; create it, or correct the path in the configuration",
        ]
    );
}

#[test]
fn a_missing_folder_a_file_in_its_place_and_an_empty_one_are_refused() {
    let house = House::new();
    fs::remove_dir_all(house.path("scripts")).unwrap();
    assert_eq!(
        house.problem(),
        "scripts: the folder does not exist; create it, or correct the path in the configuration"
    );
    house.write("scripts", "");
    assert_eq!(
        house.problem(),
        "scripts: a file where a folder is expected; name a folder, or correct the path in the configuration"
    );
    fs::remove_file(house.path("scripts")).unwrap();
    fs::create_dir(house.path("scripts")).unwrap();
    assert!(house.problem().starts_with("scripts: the folder holds no scripts"));
}

#[test]
fn a_pipe_is_refused_instead_of_waited_for() {
    let house = House::new();
    let made = std::process::Command::new("mkfifo").arg(house.path("scripts/30-c.rhai")).status();
    assert!(made.unwrap().success());
    assert!(house.problem().starts_with("scripts/30-c.rhai: a pipe, socket or device"));
}

#[test]
fn too_big_and_too_many_are_refused() {
    let house = House::new();
    house.write("scripts/10-a.rhai", vec![b' '; 1024 * 1024 + 1]);
    assert_eq!(
        house.problem(),
        "scripts/10-a.rhai: larger than 1 MiB, the most that a configuration, script or case file may have; is it the right file?"
    );
    house.write("scripts/10-a.rhai", vec![b' '; 1024 * 1024]);
    assert!(house.read().is_ok());
    // A file of holes: it takes no space, and its size alone is refused.
    fs::File::create(house.path("lists/block.txt")).unwrap().set_len(MAX_LIST + 1).unwrap();
    assert!(
        house.problem().starts_with("lists/block.txt: larger than 256 MiB, the most that a list may have")
    );
    house.write("lists/block.txt", "");
    // Two scripts are there already.
    (0..MAX_SCRIPTS - 1).for_each(|n| house.write(&format!("scripts/30-{n}.rhai"), ""));
    assert!(house.problem().starts_with("scripts: holds more than 1000 files `*.rhai`"));
}

#[test]
fn a_list_that_did_not_change_is_not_read_again() {
    let house = House::new();
    let first = house.read().unwrap();
    house.write("scripts/10-a.rhai", "A");
    let second = house.read_after(Some(&first)).unwrap();
    let (before, after) = (&first.data()[0], &second.data()[0]);
    assert_eq!(before.bytes().as_ptr(), after.bytes().as_ptr());
    assert_ne!(first.digest(), second.digest());
}

#[test]
fn a_list_that_is_read_again_with_the_same_content_is_held_once() {
    let house = House::new();
    let first = house.read().unwrap();
    house.write("lists/block.txt", "192.0.2.1");
    house.write("scripts/10-a.rhai", "A");
    let second = house.read_after(Some(&first)).unwrap();
    assert_eq!(first.data()[0].bytes().as_ptr(), second.data()[0].bytes().as_ptr());
}

#[test]
fn a_list_that_was_just_written_is_read_again_although_its_stamp_is_the_same() {
    let house = House::new();
    let fresh = Sources::read(&house.paths(), None, &just_now, &mut || {}).unwrap();
    let data = &fresh.data()[0];
    assert!(!data.stamp.still_stands(data.path()));
    let settled = house.read_after(Some(&fresh)).unwrap();
    assert_eq!(settled.digest(), fresh.digest());
    // The answer with the old digest carries the newer, trusted stamp.
    assert!(settled.data()[0].stamp.still_stands(data.path()));
}

#[test]
fn a_change_of_a_list_that_keeps_its_size_and_time_is_seen() {
    let house = House::new();
    let first = house.read().unwrap();
    let modified = fs::metadata(house.path("lists/block.txt")).unwrap().modified().unwrap();
    house.write("lists/new.txt", "192.0.2.9");
    fs::File::open(house.path("lists/new.txt")).unwrap().set_modified(modified).unwrap();
    fs::rename(house.path("lists/new.txt"), house.path("lists/block.txt")).unwrap();
    let second = house.read_after(Some(&first)).unwrap();
    assert_eq!(second.data()[0].bytes(), "192.0.2.9");
}

#[test]
fn a_file_that_is_still_being_written_is_waited_for() {
    let house = House::new();
    let first = house.read().unwrap();
    let contents = ["", "a", "a and", "a and b", "a and b"];
    house.write("scripts/10-a.rhai", contents[0]);
    let step = Cell::new(0);
    let mut write_on = || {
        step.set(step.get() + 1);
        house.write("scripts/10-a.rhai", contents[step.get().min(4)]);
    };
    let read = Sources::read(&house.paths(), Some(&first), &just_now, &mut write_on).unwrap();
    assert_eq!(read.scripts()[0].text(), "a and b");
    assert_eq!(step.get(), 4);
}

#[test]
fn a_file_that_is_gone_for_a_moment_is_no_problem() {
    let house = House::new();
    let away = house.path("scripts/away");
    fs::rename(house.path("lists/block.txt"), &away).unwrap();
    let mut put_back = || {
        let _ = fs::rename(&away, house.path("lists/block.txt"));
    };
    assert!(Sources::read(&house.paths(), None, &long_after, &mut put_back).is_ok());
}

#[test]
fn a_folder_that_is_swapped_between_two_reads_is_never_mixed() {
    let house = House::new();
    swap_generation(&house.path("mounted"), 1);
    let paths = SourcePaths { config: None, scripts: house.path("mounted"), files: Vec::new() };
    let first = Sources::read(&paths, None, &long_after, &mut || {}).unwrap();
    assert_eq!(first.scripts()[0].text(), "generation 1");

    let generation = Cell::new(2);
    swap_generation(&paths.scripts, 2);
    let mut swap_twice_more = || {
        if generation.get() < 4 {
            generation.set(generation.get() + 1);
            swap_generation(&paths.scripts, generation.get());
        }
    };
    let read = Sources::read(&paths, Some(&first), &just_now, &mut swap_twice_more).unwrap();
    assert!(read.scripts().iter().all(|script| script.text() == "generation 4"));
}

#[test]
fn files_that_never_rest_are_given_up() {
    let house = House::new();
    let step = Cell::new(0);
    let mut scribble = || {
        step.set(step.get() + 1);
        house.write("scripts/10-a.rhai", format!("{}", step.get()));
    };
    let problems = Sources::read(&house.paths(), None, &just_now, &mut scribble).unwrap_err();
    assert!(problems[0].message().contains("kept changing"));
    assert_eq!(step.get(), TRIES - 1);
}

#[test]
fn an_unchanged_set_is_read_once() {
    let house = House::new();
    let first = house.read().unwrap();
    let mut never = || panic!("one read is enough");
    assert!(Sources::read(&house.paths(), Some(&first), &just_now, &mut never).is_ok());
}

/// What Kubernetes does to a mounted ConfigMap: a new folder, then `..data` is swapped by a rename.
fn swap_generation(mount: &Path, generation: u32) {
    let folder = format!("..2026_{generation}");
    fs::create_dir_all(mount.join(&folder)).unwrap();
    for name in ["a.rhai", "b.rhai"] {
        fs::write(mount.join(&folder).join(name), format!("generation {generation}")).unwrap();
        let _ = symlink(format!("..data/{name}"), mount.join(name));
    }
    symlink(&folder, mount.join("..data_tmp")).unwrap();
    fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
    let _ = fs::remove_dir_all(mount.join(format!("..2026_{}", generation.wrapping_sub(1))));
}
