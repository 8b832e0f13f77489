//! What settings come to: the seed's file and variables, and everything that can be wrong with them.

use std::path::Path;

use super::*;

/// Settings of these variables, and of this text as the file that they name.
fn read(variables: &[(&str, &str)], file: Option<&str>) -> Result<Settings, Faults> {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let variables = variables.iter().map(own).collect();
    Settings::read(&variables, |_: &Path| match file {
        Some(text) => Ok(text.to_owned()),
        None => Err(io::ErrorKind::NotFound.into()),
    })
}

fn faults(variables: &[(&str, &str)], file: Option<&str>) -> Vec<String> {
    let faults = read(variables, file).expect_err("something is wrong");
    faults.0.iter().map(ToString::to_string).collect()
}

#[test]
fn without_a_variable_and_without_a_file_everything_is_as_the_seed_has_it() {
    let settings = read(&[], None).unwrap();
    assert_eq!(settings.stage.value, Stage::Development);
    assert_eq!(
        settings.interval,
        Setting::default_of(Duration::from_secs(30))
    );
    assert_eq!(
        settings.timeout,
        Setting::default_of(Duration::from_secs(5))
    );
    assert_eq!(settings.env_prefix.value, "SERVICE_");
    assert!(settings.services.is_empty() && settings.file.is_none());
    assert_eq!(settings.admission(), Admission::any());
}

#[test]
fn the_stage_decides_the_prefix_unless_one_is_named() {
    let prefix = |variables: &[(&str, &str)]| read(variables, None).unwrap().env_prefix.value;
    assert_eq!(prefix(&[("ENVIRONMENT", "testing")]), "TEST_SERVICE_");
    assert_eq!(prefix(&[("ENVIRONMENT", "Production")]), "PROD_SERVICE_");
    let named = [
        ("ENVIRONMENT", "production"),
        (ENV_PREFIX, "CORTEX_SERVICE_"),
    ];
    assert_eq!(prefix(&named), "CORTEX_SERVICE_");
}

#[test]
fn an_empty_variable_is_none() {
    let names = [
        CONFIG,
        INTERVAL,
        TIMEOUT,
        ENV_PREFIX,
        ENVIRONMENT,
        HTTP_HOSTS,
    ];
    let settings = read(&names.map(|name| (name, "")), None);
    assert_eq!(settings, read(&[], None));
}

#[test]
fn a_variable_that_names_no_file_is_a_fault_and_the_default_need_not_be_there() {
    let [fault] = &faults(&[(CONFIG, "/etc/none.yaml")], None)[..] else {
        panic!("one fault is expected");
    };
    assert!(
        fault.starts_with("$SERVICE_DISCOVERY_CONFIG is `/etc"),
        "{fault}"
    );
    assert!(
        fault.contains("`/etc/none.yaml`; expected a file that can be read"),
        "{fault}"
    );
    let denied = Settings::read(&Variables::new(), |_| {
        Err(io::ErrorKind::PermissionDenied.into())
    });
    let fault = denied.unwrap_err().to_string();
    assert!(
        fault.starts_with("config/service_discovery.yaml: the file"),
        "{fault}"
    );
}

#[test]
fn the_file_of_the_process_is_read_from_the_disk_and_only_so_much_of_it() {
    let missing = read_file(Path::new("/nowhere/at/all.yaml")).unwrap_err();
    assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    let endless = read_file(Path::new("/dev/zero")).unwrap_err();
    assert_eq!(endless.kind(), io::ErrorKind::FileTooLarge);
    assert!(variables_of_process().contains_key("PATH"));
}

#[test]
fn times_are_seconds_or_have_a_unit_and_a_default_timeout_fits_its_interval() {
    let times = |interval, timeout| {
        let settings = read(&[(INTERVAL, interval), (TIMEOUT, timeout)], None).unwrap();
        (settings.interval.value, settings.timeout.value)
    };
    let seconds = Duration::from_secs_f64;
    assert_eq!(times("60", "10"), (seconds(60.0), seconds(10.0)));
    assert_eq!(times("2.5", "500ms"), (seconds(2.5), seconds(0.5)));
    assert_eq!(times("5m", ""), (seconds(300.0), seconds(5.0)));
    assert_eq!(times("2", ""), (seconds(2.0), seconds(2.0)));
}

#[test]
fn variables_that_are_wrong_are_all_named_with_what_was_expected() {
    let variables = [
        (INTERVAL, "0.5"),
        (TIMEOUT, "soon"),
        (ENV_PREFIX, "SERVICE-"),
        (ENVIRONMENT, "staging"),
        (HTTP_HOSTS, "memory, :80"),
    ];
    let faults = faults(&variables, None);
    for (fault, (name, _)) in [3, 4, 0, 1, 2].map(|at| &variables[at]).iter().enumerate() {
        assert!(
            faults[fault].starts_with(&format!("${name} is `")),
            "{faults:#?}"
        );
    }
    assert!(
        faults[0].ends_with("`staging`; expected development, testing or production"),
        "{faults:#?}"
    );
    assert!(
        faults[2].contains("`0.5`; expected seconds, such as 30"),
        "{faults:#?}"
    );
    assert!(faults[2].ends_with("from 1 s to 24 h"), "{faults:#?}");
    assert_eq!(faults.len(), 5, "{faults:#?}");
}

#[test]
fn a_prefix_that_would_take_our_own_variables_or_all_of_them_is_refused() {
    for prefix in [
        "SERVICE_DISCOVERY_",
        "SERVICE_DISCOVERY_X",
        "a b",
        "\u{e9}_",
    ] {
        let faults = faults(&[(ENV_PREFIX, prefix)], None);
        assert_eq!(faults.len(), 1, "{faults:?}");
    }
}

#[test]
fn a_timeout_that_was_set_is_at_most_the_interval() {
    let faults = faults(&[(INTERVAL, "10"), (TIMEOUT, "30")], None);
    let expected = "$SERVICE_DISCOVERY_HEALTH_CHECK_TIMEOUT: timeout of the health check is `30s`; \
                    expected at most the interval, which is 10s ($SERVICE_DISCOVERY_HEALTH_CHECK_INTERVAL)";
    assert_eq!(faults, [expected]);
}

#[cfg(feature = "yaml")]
mod file {
    use super::*;

    const SEED: &str = "\
# service_discovery.yaml
services:
  memory: http://memory-service:9000
  cognition: http://cognition-service:9100

health_check:
  interval: 30
  timeout: 5.0
";

    #[test]
    fn the_file_of_the_seed_is_read() {
        let settings = read(&[], Some(SEED)).unwrap();
        let services: Vec<(&str, &str)> = settings
            .services
            .iter()
            .map(|service| (service.name.as_str(), &*service.address.value.url))
            .collect();
        let expected = [
            ("memory", "http://memory-service:9000"),
            ("cognition", "http://cognition-service:9100"),
        ];
        assert_eq!(services, expected);
        let place = settings.services[1].address.place.to_string();
        assert_eq!(place, "config/service_discovery.yaml:4:14");
        assert_eq!(
            settings.interval.place.to_string(),
            "config/service_discovery.yaml:7:13"
        );
        assert_eq!(settings.file.as_deref(), Some(Path::new(CONFIG_DEFAULT)));
    }

    #[test]
    fn a_variable_wins_over_the_file_and_the_file_over_the_default() {
        let settings = read(&[(INTERVAL, "60"), (CONFIG, "x.yaml")], Some(SEED)).unwrap();
        assert_eq!(settings.interval.value, Duration::from_secs(60));
        assert_eq!(
            settings.interval.place.to_string(),
            "$SERVICE_DISCOVERY_HEALTH_CHECK_INTERVAL"
        );
        assert_eq!(settings.timeout.place.to_string(), "x.yaml:8:12");
    }

    #[test]
    fn an_empty_file_and_empty_sections_say_nothing() {
        for text in [
            "",
            "# nothing\n",
            "services:\nhealth_check:\n",
            "services: {}\n",
        ] {
            let settings = read(&[], Some(text)).unwrap();
            assert_eq!(
                settings.interval,
                Setting::default_of(Duration::from_secs(30))
            );
        }
    }

    #[test]
    fn everything_that_is_wrong_in_a_file_is_reported_with_its_place() {
        let text = "\
services:
  memory: ftp://memory
  Memory_Store: http://a
  memory-store: http://b
  'bad name': http://c
  cognition:
    url: http://d
  empty:
  key: http://user:hunter2@e
health_check:
  intervall: 30
  timeout: -1
http_hosts: [ok, 'not ok']
service: {}
extra: 1
";
        let faults = faults(&[(INTERVAL, "never")], Some(text));
        let starts = [
            "$SERVICE_DISCOVERY_HEALTH_CHECK_INTERVAL is `never`",
            "config/service_discovery.yaml:2:11: services.memory is `ftp://memory`; expected an http or https URL",
            "config/service_discovery.yaml:4:17: services.memory-store is `http://b`; expected each service once",
            "config/service_discovery.yaml:5:15: services.bad name is `http://c`; expected a name of a service",
            "config/service_discovery.yaml:7:10: services.cognition.url is `http://d`; expected name: URL",
            "config/service_discovery.yaml:8:8: services.empty",
            "config/service_discovery.yaml:9:8: services.key is `http://...@e`",
            "config/service_discovery.yaml:11:14: health_check.intervall is `30`; expected a key that is known; did you mean `interval`?",
            "config/service_discovery.yaml:12:12: health_check.timeout is `-1`; expected seconds",
            "config/service_discovery.yaml:13:18: http_hosts is `not ok`; expected a host",
            "config/service_discovery.yaml:15:8: extra is `1`; expected one of the keys services, health_check, http_hosts",
        ];
        for (fault, start) in faults.iter().zip(starts) {
            assert!(fault.starts_with(start), "{fault}\n{start}\n{faults:#?}");
        }
        assert_eq!(faults.len(), starts.len(), "{faults:#?}");
        assert!(!faults.concat().contains("hunter2"));
    }

    #[test]
    fn what_is_no_yaml_or_no_mapping_is_one_fault() {
        let broken = faults(&[], Some("services: [\n"));
        assert_eq!(broken.len(), 1);
        assert!(broken[0].contains("expected YAML ("), "{broken:?}");
        let list = faults(&[], Some("- a\n- b\n"));
        assert!(
            list[0].contains(":1:1: the file; expected a mapping with services"),
            "{list:?}"
        );
        let twice = faults(&[], Some("services:\n  a: http://a\n  a: http://b\n"));
        assert!(twice[0].contains("service_discovery.yaml:3:3"), "{twice:?}");
    }

    #[test]
    fn in_production_https_is_required_unless_the_host_is_named() {
        let production = (ENVIRONMENT, "production");
        let faults = faults(&[production], Some(SEED));
        assert_eq!(faults.len(), 2);
        assert!(
            faults[0].contains("an https URL (`http://memory-service:9000` is plain http"),
            "{faults:?}"
        );
        let hosts = (HTTP_HOSTS, "memory-service, cognition-service");
        assert_eq!(
            read(&[production, hosts], Some(SEED))
                .unwrap()
                .services
                .len(),
            2
        );
        let in_file = format!("{SEED}http_hosts:\n  - '*-service'\n");
        assert!(read(&[production], Some(&in_file)).is_err());
        let in_file = format!("{SEED}http_hosts: [memory-service, cognition-service]\n");
        let settings = read(&[production], Some(&in_file)).unwrap();
        assert_eq!(settings.http_hosts.value.len(), 2);
        assert!(settings.admission().admit("http://other").is_err());
    }
}

#[cfg(not(feature = "yaml"))]
#[test]
fn without_the_feature_a_file_is_a_fault_that_says_so() {
    let faults = faults(&[], Some("services: {}\n"));
    assert!(
        faults[0].contains("without the feature `yaml`"),
        "{faults:?}"
    );
}
