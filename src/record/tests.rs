//! The record's life from hand-over to disk, one behaviour a test, driven step by step without a clock.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use super::testing::*;
use super::*;

const CANNOT: &str = "the decision log cannot be written; requests go on, records are dropped";

#[test]
fn records_reach_the_disk_in_order_and_are_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let (recorder, mut writer) = Recorder::new(settings(&folder));
    record(&recorder, 0..3);
    writer.step(moment(0));
    assert_eq!(numbers_in(&folder.path().join("d.jsonl")), [0, 1, 2]);
    let bytes = fs::metadata(folder.path().join("d.jsonl")).unwrap().len();
    assert_eq!(recorder.stats(), Stats { written: 3, bytes, ..Stats::default() });
    let newest = Note::numbered(2);
    assert_eq!(&*recorder.recent().list(1)[0], newest.line().trim_end().as_bytes());
    assert!(recorder.recent().find(newest.id()).is_some());
}

#[test]
fn the_file_is_there_before_the_first_record() {
    let folder = tempfile::tempdir().unwrap();
    let (_recorder, mut writer) = Recorder::new(settings(&folder));
    writer.step(moment(0));
    assert_eq!(names(folder.path()), ["d.jsonl"]);
}

#[test]
fn a_full_file_is_put_away_and_the_oldest_are_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let line = Note::numbered(1).line().len() as u64;
    let small = Settings { max_size: 2 * line, keep_files: 2, ..settings(&folder) };
    let (recorder, mut writer) = Recorder::new(small);
    record(&recorder, 0..9);
    writer.step(moment(0));
    assert_eq!(names(folder.path()), ["d-20261123T175630Z-2.jsonl", "d-20261123T175630Z-3.jsonl", "d.jsonl"]);
    assert_eq!(numbers_in(&folder.path().join("d-20261123T175630Z-2.jsonl")), [4, 5]);
    assert_eq!(numbers_in(&folder.path().join("d-20261123T175630Z-3.jsonl")), [6, 7]);
    assert_eq!(numbers_in(&folder.path().join("d.jsonl")), [8]);
    assert_eq!(recorder.dropped(), 0);
}

#[test]
fn the_disk_bound_holds_whatever_the_sizes_are() {
    for (max_size, keep_files) in [(0, 0), (0, 3), (100, 1), (300, 2), (10_000, 0)] {
        let folder = tempfile::tempdir().unwrap();
        let bounded = Settings { max_size, keep_files, ..settings(&folder) };
        let bound = (keep_files as u64 + 1) * (max_size + 100);
        assert!(bounded.max_bytes() >= bound);
        let (recorder, mut writer) = Recorder::new(bounded);
        for second in 0..20 {
            record(&recorder, 0..50);
            writer.step(moment(second));
            let on_disk = |name: &String| fs::metadata(folder.path().join(name)).unwrap().len();
            assert!(names(folder.path()).iter().map(on_disk).sum::<u64>() <= bound);
        }
        assert_eq!(recorder.stats().written, 1000);
    }
}

#[test]
fn an_old_file_is_put_away_even_if_nothing_happens() {
    let folder = tempfile::tempdir().unwrap();
    let hourly = Settings { max_age: Duration::from_secs(3600), ..settings(&folder) };
    let (recorder, mut writer) = Recorder::new(hourly);
    record(&recorder, 0..1);
    writer.step(moment(0));
    writer.step(moment(3599));
    assert_eq!(names(folder.path()), ["d.jsonl"]);
    writer.step(moment(3600));
    // An empty file is never put away.
    writer.step(moment(10_000));
    assert_eq!(names(folder.path()), ["d-20261123T185630Z.jsonl", "d.jsonl"]);
}

#[test]
fn the_age_of_a_file_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let hourly = Settings { max_age: Duration::from_secs(3600), ..settings(&folder) };
    for (second, files) in [(0, 1), (3000, 1), (3700, 2)] {
        let (recorder, mut writer) = Recorder::new(hourly.clone());
        recorder.record(&Note::at(moment(second).wall, 1));
        writer.step(moment(second));
        assert_eq!(names(folder.path()).len(), files);
    }
}

#[test]
fn old_files_are_deleted_even_if_nothing_happens() {
    let folder = tempfile::tempdir().unwrap();
    let short = Settings { keep_for: Duration::from_secs(86_400), ..settings(&folder) };
    fs::write(folder.path().join("d-20261123T175600Z.jsonl"), "{}\n").unwrap();
    let (_recorder, mut writer) = Recorder::new(short);
    writer.step(moment(0));
    assert_eq!(names(folder.path()).len(), 2);
    writer.step(moment(86_400));
    assert_eq!(names(folder.path()), ["d.jsonl"]);
}

#[test]
fn a_torn_line_of_the_last_run_is_moved_aside() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.jsonl");
    fs::write(&path, format!("{}{{\"id\":\"to", Note::numbered(0).line())).unwrap();
    let (recorder, mut writer) = Recorder::new(settings(&folder));
    record(&recorder, 1..2);
    let warnings = warnings_of(|| writer.step(moment(0)));
    assert_eq!(warnings, ["the decision log ended in a torn line; it was moved aside"]);
    assert_eq!(numbers_in(&path), [0, 1]);
    assert_eq!(fs::read(folder.path().join("d.jsonl.torn")).unwrap(), b"{\"id\":\"to");
}

#[test]
fn a_full_disk_costs_records_but_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.jsonl");
    symlink("/dev/full", &path).unwrap();
    let (recorder, mut writer) = Recorder::new(settings(&folder));
    let warnings = warnings_of(|| {
        for second in 0..5 {
            record(&recorder, 0..10);
            writer.step(moment(second));
        }
    });
    assert_eq!(warnings, [CANNOT]);
    assert_eq!(recorder.stats(), Stats { dropped: 50, ..Stats::default() });
    assert_eq!(recorder.recent().list(100).len(), 50);
    // Room again: it goes on by itself, and the next outage is warned about again.
    fs::remove_file(&path).unwrap();
    record(&recorder, 10..12);
    assert_eq!(warnings_of(|| writer.step(moment(6))), [""; 0]);
    assert_eq!(numbers_in(&path), [10, 11]);
    fs::remove_file(&path).unwrap();
    symlink("/dev/full", &path).unwrap();
    record(&recorder, 0..1);
    assert_eq!(warnings_of(|| writer.step(moment(7))), [CANNOT]);
    assert_eq!(recorder.stats().dropped, 51);
}

#[test]
fn a_path_that_cannot_be_opened_is_tried_again_once_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.jsonl");
    fs::create_dir(&path).unwrap();
    let (recorder, mut writer) = Recorder::new(settings(&folder));
    assert_eq!(warnings_of(|| writer.step(moment(5))), [CANNOT]);
    fs::remove_dir(&path).unwrap();
    record(&recorder, 0..1);
    writer.step(moment(5));
    assert_eq!((recorder.dropped(), path.exists()), (1, false));
    record(&recorder, 1..2);
    writer.step(moment(6));
    assert_eq!((recorder.dropped(), numbers_in(&path)), (1, vec![1]));
}

#[test]
fn a_deleted_folder_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data/d.jsonl");
    let (recorder, mut writer) = Recorder::new(Settings { path: path.clone(), ..settings(&folder) });
    record(&recorder, 0..1);
    writer.step(moment(0));
    fs::remove_dir_all(path.parent().unwrap()).unwrap();
    record(&recorder, 1..2);
    writer.step(moment(0));
    assert_eq!((recorder.dropped(), numbers_in(&path)), (0, vec![1]));
}

#[test]
fn a_file_that_somebody_moved_or_emptied_is_followed_by_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let (path, moved) = (folder.path().join("d.jsonl"), folder.path().join("d.jsonl.1"));
    let line = Note::numbered(1).line().len() as u64;
    let (recorder, mut writer) = Recorder::new(Settings { max_size: 3 * line, ..settings(&folder) });
    record(&recorder, 0..2);
    writer.step(moment(0));
    fs::rename(&path, &moved).unwrap();
    record(&recorder, 2..4);
    writer.step(moment(0));
    assert_eq!((numbers_in(&moved), numbers_in(&path)), (vec![0, 1], vec![2, 3]));
    // Emptied in place, it has room again.
    fs::write(&path, "").unwrap();
    record(&recorder, 4..6);
    writer.step(moment(0));
    assert_eq!(numbers_in(&path), [4, 5]);
    assert_eq!(names(folder.path()), ["d.jsonl", "d.jsonl.1"]);
}

#[test]
fn a_linked_log_is_rotated_where_it_really_is() {
    let (folder, disk) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    symlink(disk.path().join("real.jsonl"), folder.path().join("d.jsonl")).unwrap();
    let (recorder, mut writer) = Recorder::new(Settings { max_size: 1, keep_files: 1, ..settings(&folder) });
    record(&recorder, 0..3);
    writer.step(moment(0));
    assert_eq!(names(folder.path()), ["d.jsonl"]);
    assert_eq!(names(disk.path()), ["real-20261123T175630Z.jsonl", "real.jsonl"]);
    assert!(find_in_files(&folder.path().join("d.jsonl"), Note::numbered(1).id()).unwrap().is_some());
}

#[test]
fn a_record_that_cannot_be_a_line_is_dropped_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (recorder, mut writer) = Recorder::new(settings(&folder));
    let warnings = warnings_of(|| {
        record(&recorder, 0..1);
        recorder.record(&Note::panicking());
        recorder.record(&Note::saying("{\n}"));
        record(&recorder, 1..2);
    });
    writer.step(moment(0));
    assert_eq!(warnings, ["a decision cannot be logged and is dropped, like others to come"]);
    assert_eq!(numbers_in(&folder.path().join("d.jsonl")), [0, 1]);
    assert_eq!((recorder.stats().written, recorder.dropped()), (2, 2));
}

#[test]
fn a_lasting_overflow_is_one_warning_and_a_new_one_is_another() {
    let folder = tempfile::tempdir().unwrap();
    let (recorder, mut writer) = Recorder::new(small_queue(&folder, 2));
    let mut overflow_at = |second| {
        warnings_of(|| {
            record(&recorder, 0..5);
            writer.step(moment(second));
            writer.step(moment(second + 9));
        })
        .len()
    };
    assert_eq!([0, 9, 18].map(&mut overflow_at), [1, 0, 0]);
    // Ten seconds without a loss end the overflow.
    writer.step(moment(28));
    assert_eq!(warnings_of(|| record(&recorder, 0..5)).len(), 1);
    assert_eq!(recorder.dropped(), 12);
}

#[test]
fn closing_writes_what_waits_and_takes_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let (recorder, writer) = Recorder::new(settings(&folder));
    record(&recorder, 0..5000);
    let running = writer.start(|| moment(0)).unwrap();
    running.close(Duration::from_secs(60)).unwrap();
    record(&recorder, 0..2);
    assert_eq!(whole_lines(&folder.path().join("d.jsonl")), 5000);
    assert_eq!((recorder.stats().written, recorder.dropped()), (5000, 2));
}

#[test]
fn closing_gives_up_at_its_deadline_and_counts_what_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let (recorder, writer) = Recorder::new(settings(&folder));
    record(&recorder, 0..5);
    // A clock that hangs stands for a disk that hangs.
    let (release, hang) = std::sync::mpsc::channel::<()>();
    let running = writer.start(move || hang.recv().map_or(moment(0), |()| moment(0))).unwrap();
    let error = running.close(Duration::ZERO).unwrap_err();
    assert_eq!(error.to_string(), "the decision log was not finished within 0ns; 5 records are lost");
    assert_eq!(recorder.dropped(), 5);
    drop(release);
}
