//! The package of this repository, with stubs for its programs.

use super::*;

/// A folder with a stub for every program, the programs, and this repository.
struct Stubs {
    root: PathBuf,
    tree: Tree,
    programs: Vec<Program>,
    folder: tempfile::TempDir,
}

impl Stubs {
    fn make() -> Self {
        let root = crate::tree::root().unwrap();
        let manifests = manifests::load(&root).unwrap();
        assert_eq!(manifests::check(&manifests), crate::Findings::new());
        let (programs, folder) = (manifests.programs(), tempfile::tempdir().unwrap());
        for program in &programs {
            std::fs::write(folder.path().join(&program.name), &program.name).unwrap();
        }
        Self { tree: Tree::load(&root).unwrap(), root, programs, folder }
    }

    fn collect(&self) -> anyhow::Result<Entries> {
        collect(&self.root, &self.tree, &self.programs, self.folder.path())
    }
}

fn listing(archive: &Path) -> Vec<String> {
    let text = output(Path::new("/"), "tar", &["tzvf", archive.to_str().unwrap()]).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Goal: an operator unpacks every program with its unit, a sample, the licences and the dashboards.
#[test]
fn the_archive_has_every_program_with_its_unit_and_its_sample() {
    let stubs = Stubs::make();
    let out = tempfile::tempdir().unwrap();
    let archive = write(out.path(), "rollmill-1", stubs.collect().unwrap(), 86_400).unwrap();
    let lines = listing(&archive);
    let line = |path: &str| {
        let end = format!(" rollmill-1/{path}");
        lines.iter().find(|line| line.ends_with(&end)).unwrap_or_else(|| panic!("no {path}"))
    };
    for program in &stubs.programs {
        let path = format!("bin/{}", program.name);
        if program.role == Role::Checkout {
            assert!(!lines.iter().any(|line| line.ends_with(&path)), "{path} is packed");
            continue;
        }
        assert!(line(&path).starts_with("-rwxr-xr-x 0/0 "), "{}", line(&path));
        if program.role == Role::Service {
            line(&format!("systemd/{}.service", program.name));
            line(&format!("docs/config/{}.toml", program.name));
        }
    }
    let others = [
        "SHA256SUMS",
        "docs/book/install.md",
        "grafana/operator.json",
        "prometheus/alerts.rules.yml",
    ];
    for path in TOP.iter().chain(&others) {
        assert!(line(path).starts_with("-rw-r--r-- 0/0 "), "{}", line(path));
        assert!(line(path).contains(" 1970-01-02 "), "{}", line(path));
    }
    let sum = output(out.path(), "sha256sum", &["--check", "rollmill-1.tar.gz.sha256"]).unwrap();
    assert_eq!(sum, "rollmill-1.tar.gz: OK\n");
    output(&out.path().join("rollmill-1"), "sha256sum", &["--check", "--strict", "SHA256SUMS"])
        .unwrap();
}

/// Goal: anyone who builds the same programs from the same commit gets the same archive.
#[test]
fn two_archives_of_the_same_files_are_equal_whatever_the_times_and_modes_of_the_files() {
    let stubs = Stubs::make();
    let [one, other] = [0, 1].map(|_| tempfile::tempdir().unwrap());
    let first = write(one.path(), "rollmill-1", stubs.collect().unwrap(), 86_400).unwrap();
    for program in &stubs.programs {
        let path = stubs.folder.path().join(&program.name);
        std::fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
        let file = std::fs::File::options().append(true).open(&path).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
    }
    // What an earlier run left.
    std::fs::create_dir(other.path().join("rollmill-1")).unwrap();
    std::fs::write(other.path().join("rollmill-1/old"), "").unwrap();
    std::fs::write(other.path().join("rollmill-1.tar.gz"), "").unwrap();
    let second = write(other.path(), "rollmill-1", stubs.collect().unwrap(), 86_400).unwrap();
    let [first, second] = [first, second].map(|path| std::fs::read(path).unwrap());
    assert!(first == second, "{} and {} bytes", first.len(), second.len());
}

/// Goal: a package that lacks a program, a unit or a sample is an error.
#[test]
fn a_missing_program_unit_or_sample_is_named_and_nothing_is_packed() {
    let mut stubs = Stubs::make();
    let service = stubs.programs.iter().find(|program| program.role == Role::Service).unwrap();
    let name = service.name.clone();
    for (missing, error) in [
        (format!("{UNITS}/{name}.service"), "write a unit for"),
        (format!("docs/config/{name}.toml"), "is missing; see CONTRIBUTING.md"),
    ] {
        let paths = stubs.tree.paths.clone();
        stubs.tree.paths.retain(|path| *path != missing);
        let found = stubs.collect().unwrap_err().to_string();
        assert!(found.starts_with(&missing) && found.contains(error), "{found}");
        stubs.tree.paths = paths;
    }
    stubs.tree.paths.push(format!("{UNITS}/rollmill-ghost.service"));
    let found = stubs.collect().unwrap_err().to_string();
    assert!(found.ends_with("there is no service rollmill-ghost"), "{found}");
    stubs.tree.paths.pop();
    std::fs::remove_file(stubs.folder.path().join(&name)).unwrap();
    let found = stubs.collect().unwrap_err().to_string();
    assert!(found.starts_with(&format!("{name} is missing in ")), "{found}");
}

/// The values of a key in a unit.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    let start = format!("{key}=");
    unit.lines().filter_map(|line| line.trim_start_matches('#').strip_prefix(&start)).collect()
}

/// Goal: a unit starts the program that it is named for, with settings that exist, and systemd waits longer for
/// its end than the program itself.
#[test]
fn units_name_their_program_settings_that_exist_and_a_time_beyond_the_programs_own() {
    let stubs = Stubs::make();
    for service in stubs.programs.iter().filter(|program| program.role == Role::Service) {
        let name = &service.name;
        let unit = stubs.tree.text(&format!("{UNITS}/{name}.service")).unwrap();
        let sample = stubs.tree.text(&format!("docs/config/{name}.toml")).unwrap();
        let start = format!("/usr/local/bin/{name} --config /etc/rollmill/{name}.toml");
        assert_eq!(values(unit, "ExecStart"), [start], "{name}");
        let number = |text: &str| text.parse::<u64>().unwrap();
        let grace = sample.lines().find_map(|line| line.strip_prefix("#grace_seconds = ")).unwrap();
        let [limit] = values(unit, "TimeoutStopSec")[..] else { panic!("{name}: no limit") };
        assert!(number(limit) > number(grace), "{name}: {limit} and {grace}");
        for (key, value) in [
            ("Restart", "on-failure"),
            ("RestartPreventExitStatus", "2"),
            ("KillSignal", "SIGTERM"),
        ] {
            assert_eq!(values(unit, key), [value], "{name}");
        }
        for setting in values(unit, "Environment") {
            let (variable, _) = setting.split_once('=').unwrap();
            let is_known =
                variable == "ROLLMILL_CACHE" || sample.contains(&format!("[env: {variable}]"));
            assert!(is_known, "{name}: no setting {variable}");
        }
        for credential in values(unit, "LoadCredential") {
            let (id, _) = credential.split_once(':').unwrap();
            assert!(unit.contains(&format!("%d/{id}")), "{name}: nothing reads {id}");
        }
    }
}

/// Fault: an agent is restarted while its broker is away. Goal: wherever it was installed from these files, its finished
/// proofs are on a disk that the restart leaves alone.
#[test]
fn an_installed_agent_keeps_its_proofs_over_a_restart() {
    const VARIABLE: &str = "ROLLMILL_AGENT_SPOOL_DIR";
    let stubs = Stubs::make();
    let text = |path: &str| stubs.tree.text(path).unwrap();
    let unit = text(&format!("{UNITS}/rollmill-agent.service"));
    assert_eq!(values(unit, "StateDirectory"), ["rollmill/agent"]);
    let spool = format!("{VARIABLE}=%S/rollmill/agent/spool");
    assert!(values(unit, "Environment").contains(&spool.as_str()));
    assert!(
        text("deploy/compose/compose.yaml").contains(&format!("{VARIABLE}: /var/lib/rollmill/"))
    );
    // A container that Kubernetes starts again has nothing of the one before but its volumes.
    let pod = text("deploy/kubernetes/rollmill.yaml");
    for part in [
        format!("{{name: {VARIABLE}, value: \"/var/lib/rollmill/spool\"}}"),
        "{name: state, mountPath: /var/lib/rollmill}".to_owned(),
        "- name: state\n          emptyDir: {}\n".to_owned(),
    ] {
        assert!(pod.contains(&part), "{part}");
    }
}

/// Goal: a service can do no more to its machine than it needs. The agent's devices stay open for a GPU.
#[test]
fn units_close_what_their_services_do_not_need() {
    const ALL: &[(&str, &str)] = &[
        ("UMask", "0077"),
        ("StateDirectoryMode", "0700"),
        ("CapabilityBoundingSet", ""),
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("PrivateTmp", "yes"),
        ("ProtectProc", "invisible"),
        ("ProtectHostname", "yes"),
        ("ProtectKernelLogs", "yes"),
        ("ProtectKernelTunables", "yes"),
        ("ProtectKernelModules", "yes"),
        ("ProtectControlGroups", "yes"),
        ("RestrictNamespaces", "yes"),
        ("RestrictRealtime", "yes"),
        ("RestrictSUIDSGID", "yes"),
        ("RemoveIPC", "yes"),
        ("LockPersonality", "yes"),
        ("SystemCallArchitectures", "native"),
    ];
    const WITHOUT_DEVICES: &[(&str, &str)] = &[
        ("PrivateDevices", "yes"),
        ("ProtectClock", "yes"),
        ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX"),
        ("SystemCallFilter", "@system-service"),
        ("SystemCallErrorNumber", "EPERM"),
    ];
    let stubs = Stubs::make();
    for service in stubs.programs.iter().filter(|program| program.role == Role::Service) {
        let name = &service.name;
        let unit = stubs.tree.text(&format!("{UNITS}/{name}.service")).unwrap();
        let is_agent = name == "rollmill-agent";
        let more: &[(&str, &str)] = if is_agent { &[] } else { WITHOUT_DEVICES };
        for (key, value) in ALL.iter().chain(more) {
            assert_eq!(values(unit, key), [*value], "{name}: {key}");
        }
        if is_agent {
            for (key, _) in &WITHOUT_DEVICES[..2] {
                assert!(values(unit, key).is_empty(), "{name}: {key} hides a GPU");
            }
        }
    }
}

/// Goal: the licences of what is shipped are those of the crates that are linked, and of no others.
#[test]
fn the_list_of_licences_has_the_crates_of_the_packed_programs() {
    let stubs = Stubs::make();
    let packages: Vec<&str> =
        packed(&stubs.programs).map(|program| program.package.as_str()).collect();
    let target = host(&stubs.root).unwrap();
    let page = licences::page(&licences::crates(&stubs.root, &packages, &target).unwrap()).unwrap();
    let has = |name: &str| page.lines().any(|line| line.starts_with(&format!("{name} ")));
    for name in ["tokio", "sqlx", "alloy", "wgpu", "ark-bn254"] {
        assert!(has(name), "{name}");
    }
    for name in ["serde_derive", "tempfile", "proptest", "halo2curves", "rollmill-agent"] {
        assert!(!has(name), "{name}");
    }
}
