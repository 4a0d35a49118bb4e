//! The page as a reader's browser gets it: well formed, self-contained, escaped, whole in odd cases.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod specimen;

use std::collections::BTreeSet;

use fedact_evaluate::report::{FederatedRun, Report};
use quick_xml::Reader;
use quick_xml::events::Event;

/// Everything that the tests ask of a page.
struct Page {
    text: String,
    ids: BTreeSet<String>,
    links: Vec<String>,
    sources: Vec<String>,
    elements: Vec<String>,
    svgs: usize,
    svgs_with_title_and_desc: usize,
}

/// Parses a page as XML, which HTML written by this crate is; panics where it is not well formed.
fn parse(html: &str) -> Page {
    let mut reader = Reader::from_str(html);
    reader.config_mut().check_end_names = true;
    let mut page = Page {
        text: String::new(),
        ids: BTreeSet::new(),
        links: Vec::new(),
        sources: Vec::new(),
        elements: Vec::new(),
        svgs: 0,
        svgs_with_title_and_desc: 0,
    };
    let mut depth = 0usize;
    // Children of the svg element being read, in order.
    let mut heads: Vec<String> = Vec::new();
    let mut svg_depth = None;
    let mut in_style = false;
    loop {
        let event = reader.read_event().unwrap_or_else(|error| {
            panic!(
                "not well formed at byte {}: {error}",
                reader.buffer_position()
            )
        });
        let opened = match &event {
            Event::Start(start) => Some(start),
            Event::Empty(start) => Some(start),
            _ => None,
        };
        if let Some(start) = opened {
            let name = String::from_utf8(start.name().as_ref().to_vec()).unwrap();
            let mut seen = BTreeSet::new();
            for attribute in start.attributes() {
                let attribute = attribute.unwrap();
                let key = String::from_utf8(attribute.key.as_ref().to_vec()).unwrap();
                let value = attribute.unescape_value().unwrap().into_owned();
                assert!(seen.insert(key.clone()), "{name} has two {key}");
                match key.as_str() {
                    "id" => assert!(page.ids.insert(value.clone()), "id {value} twice"),
                    "href" => page.links.push(value),
                    "src" => page.sources.push(value),
                    "x" | "y" | "width" | "height" | "cx" | "cy" | "d" | "viewBox" => {
                        assert!(
                            !value.contains("NaN") && !value.contains("inf"),
                            "{name} {key}={value}"
                        );
                    }
                    _ => {}
                }
            }
            if svg_depth == Some(depth) {
                heads.push(name.clone());
            }
            if name == "svg" {
                page.svgs += 1;
                svg_depth = Some(depth + 1);
                heads.clear();
            }
            in_style = name == "style";
            page.elements.push(name);
        }
        match event {
            Event::Start(_) => depth += 1,
            Event::End(end) => {
                depth -= 1;
                in_style = false;
                if end.name().as_ref() == b"svg" {
                    svg_depth = None;
                    page.svgs_with_title_and_desc +=
                        usize::from(heads.starts_with(&["title".into(), "desc".into()]));
                }
            }
            Event::Text(text) if !in_style => page.text.push_str(&text.decode().unwrap()),
            Event::GeneralRef(entity) => {
                let name = entity.decode().unwrap();
                page.text.push_str(match name.as_ref() {
                    "lt" => "<",
                    "gt" => ">",
                    "amp" => "&",
                    "quot" => "\"",
                    "#39" => "'",
                    other => panic!("unknown entity {other}"),
                });
            }
            Event::Eof => break,
            _ => {}
        }
    }
    assert_eq!(depth, 0, "unclosed elements");
    page
}

/// What holds for every page, whatever it reports.
fn check(report: &Report) -> Page {
    let html = report.html();
    let page = parse(&html);
    assert_eq!(
        page.svgs, page.svgs_with_title_and_desc,
        "an SVG without title and desc"
    );
    for link in &page.links {
        let target = link
            .strip_prefix('#')
            .unwrap_or_else(|| panic!("link leaves the page: {link}"));
        assert!(page.ids.contains(target), "link to nowhere: {link}");
    }
    for source in &page.sources {
        assert!(
            source.starts_with("data:image/"),
            "loaded from elsewhere: {source}"
        );
    }
    for forbidden in [
        "script", "link", "iframe", "object", "embed", "base", "form",
    ] {
        assert!(
            !page.elements.iter().any(|name| name == forbidden),
            "<{forbidden}> in the page"
        );
    }
    assert!(
        !html.contains("@import") && !html.contains("url("),
        "a style sheet loads something"
    );
    page
}

#[test]
fn the_page_is_well_formed_self_contained_and_complete() {
    let page = check(&specimen::report());
    for id in [
        "glance",
        "accuracy",
        "savings",
        "models",
        "distillation",
        "confusion",
        "devices",
        "staleness",
        "costs",
        "frames",
        "training",
        "notes",
    ] {
        assert!(page.ids.contains(id), "no section {id}");
    }
    // Accuracy over time, epochs and bytes; savings; nine matrices; two charts of devices; staleness; three of
    // training.
    assert_eq!(page.svgs, 3 + 1 + 9 + 2 + 1 + 3);
    assert_eq!(page.sources.len(), 18, "a strip per class");
    for words in [
        "jetson-nano",
        "95% confidence",
        "int8 is simulated",
        "mse, bias",
        "smoothed",
        "McNemar",
    ] {
        assert!(page.text.contains(words), "the page does not say {words}");
    }
}

#[test]
fn equal_reports_give_equal_pages() {
    assert_eq!(specimen::report().html(), specimen::report().html());
}

#[test]
fn names_from_data_stay_text() {
    let hostile = "<script>alert(\"1\")</script>&amp;'";
    let mut report = specimen::report();
    report.title = hostile.into();
    for set in &mut report.clip_sets {
        set.name = hostile.into();
        for class in &mut set.classes {
            *class = format!("{hostile}{class}");
        }
        for strip in &mut set.strips {
            strip.clip = hostile.into();
        }
    }
    for model in &mut report.models {
        model.step = format!("{hostile}{}", model.step);
        model.architecture = hostile.into();
    }
    for run in &mut report.runs {
        run.step = format!("{hostile}{}", run.step);
        run.mixing = run.mixing.is_some().then(|| hostile.into());
        for client in &mut run.clients {
            client.device = hostile.into();
        }
    }
    let page = check(&report);
    assert!(
        page.text.contains(hostile),
        "the name is not shown as it is"
    );
}

#[test]
fn a_report_of_one_plain_model_has_no_empty_sections() {
    let mut report = specimen::report();
    report.runs.clear();
    report.models.truncate(1);
    report.models[0].training.clear();
    report.clip_sets.truncate(1);
    report.clip_sets[0].strips.clear();
    let page = check(&report);
    for id in [
        "accuracy",
        "savings",
        "distillation",
        "devices",
        "staleness",
        "costs",
        "frames",
        "training",
    ] {
        assert!(!page.ids.contains(id), "section {id} has nothing to say");
    }
    assert!(page.ids.contains("models"));
    assert!(report.metrics()["async_vs_sync"]["time_saving"].is_null());
}

#[test]
fn a_report_of_nothing_is_a_page() {
    let mut report = specimen::report();
    report.runs.clear();
    report.models.clear();
    report.clip_sets.clear();
    check(&report);
}

#[test]
fn runs_cut_to_a_single_point_or_to_nothing_still_make_a_page() {
    let mut report = specimen::report();
    for run in &mut report.runs {
        run.evaluations.truncate(1);
        run.tasks.clear();
        run.updates.clear();
        run.ending.time = 0.0;
    }
    let page = check(&report);
    assert!(page.text.contains("cannot be compared"));
    for run in &mut report.runs {
        run.evaluations.clear();
        run.clients.clear();
    }
    check(&report);
}

#[test]
fn updates_without_any_staleness_and_one_class_are_fine() {
    let mut report = specimen::report();
    let zero = |run: &mut FederatedRun| {
        for update in &mut run.updates {
            update.staleness = 0;
        }
    };
    report.runs.iter_mut().for_each(zero);
    for set in &mut report.clip_sets {
        set.classes.truncate(1);
        set.strips.truncate(1);
    }
    for model in &mut report.models {
        let clips = model.correct.len();
        model.accuracy.confusion = vec![vec![clips as u32]];
    }
    let page = check(&report);
    assert!(page.text.contains("0 on average and 0 at most"));
}

#[test]
fn the_metrics_have_the_agreed_figures() {
    let report = specimen::report();
    let metrics = report.metrics();
    for model in &report.models {
        let figures = &metrics["models"][&model.step];
        for key in [
            "top1",
            "top5",
            "mean_class_accuracy",
            "parameters",
            "bytes",
            "ms_per_clip",
        ] {
            assert!(
                figures[key].is_number(),
                "{}.{key} is {}",
                model.step,
                figures[key]
            );
        }
        assert_eq!(figures["top1"].as_f64(), Some(model.accuracy.top1));
    }
    for run in &report.runs {
        let figures = &metrics["federated"][&run.step];
        for key in [
            "top1",
            "virtual_seconds",
            "client_epochs",
            "bytes_up",
            "bytes_down",
        ] {
            assert!(
                figures[key].is_number(),
                "{}.{key} is {}",
                run.step,
                figures[key]
            );
        }
    }
    let comparison = &metrics["async_vs_sync"];
    let figure = |key: &str| comparison[key].as_f64().unwrap();
    assert!(
        (figure("time_saving") - (1.0 - figure("async_seconds") / figure("sync_seconds"))).abs()
            < 1e-12
    );
    assert!((0.0..=1.0).contains(&figure("target_top1")));
    assert_eq!(
        comparison["async_step"], "async",
        "the first asynchronous run makes the headline"
    );
    assert_eq!(metrics["distillation"]["student"], "student");
    assert_eq!(metrics["distillation"]["scratch"], "scratch");
}

#[test]
fn without_a_synchronous_run_the_metrics_say_why_there_is_no_saving() {
    let mut report = specimen::report();
    report.runs.retain(|run| run.step != "sync");
    let comparison = report.metrics()["async_vs_sync"].clone();
    assert!(comparison["time_saving"].is_null());
    assert!(
        comparison["reason"].as_str().unwrap().contains("fedavg"),
        "{comparison}"
    );
}
