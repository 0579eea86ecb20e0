//! Metrics in the Prometheus text form, counted all the time, written at the scrape. Nothing ticks between scrapes, hence
//! no histogram is ever recorded: it would keep each sample until somebody scrapes.
use std::fmt;
use std::fs;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// One recorder for the process, shared by several nodes in it.
static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Completes "failed to …".
#[derive(Debug, thiserror::Error)]
#[error("install the metrics recorder: there is another one")]
pub struct MetricsError;

/// Writes metrics that are kept elsewhere, in the same text form.
type Collector = Box<dyn Fn(&mut String) + Send + Sync>;

#[derive(Clone)]
pub struct Metrics {
    recorder: PrometheusHandle,
    /// What comes and goes, such as the counters of sites: the recorder forgets nothing.
    collectors: Arc<Mutex<Vec<Collector>>>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// Starts counting; what was counted before is lost.
    pub fn install() -> Result<Self, MetricsError> {
        let handle = RECORDER.get_or_init(|| PrometheusBuilder::new().install_recorder().ok());
        handle.clone().map(|recorder| Self { recorder, collectors: Arc::default() }).ok_or(MetricsError)
    }

    /// All metrics, and those of the process as they are now.
    pub fn render(&self) -> String {
        process();
        let mut text = self.recorder.render();
        self.collectors().iter().for_each(|collect| collect(&mut text));
        text
    }

    /// Has more metrics written at each scrape.
    pub fn collect(&self, collector: impl Fn(&mut String) + Send + Sync + 'static) {
        self.collectors().push(Box::new(collector));
    }

    fn collectors(&self) -> MutexGuard<'_, Vec<Collector>> {
        self.collectors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn process() {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(kilobytes) = field(&status, "VmRSS:") {
        metrics::gauge!("process_resident_memory_bytes").set(kilobytes * 1024.0);
    }
    if let Some(threads) = field(&status, "Threads:") {
        metrics::gauge!("process_threads").set(threads);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        metrics::gauge!("process_open_fds").set(open.count() as f64);
    }
}

fn field(status: &str, name: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrape_has_what_was_counted_and_the_process() {
        let metrics = Metrics::install().unwrap();
        metrics::counter!("ruche_test_total").increment(3);
        let text = Metrics::install().unwrap().render();
        for line in ["ruche_test_total 3", "process_resident_memory_bytes ", "process_threads ", "process_open_fds "] {
            assert!(text.lines().any(|it| it.starts_with(line)), "{line} is not in\n{text}");
        }
        assert!(field("VmRSS:\t 12 kB\n", "VmRSS:") == Some(12.0));
        drop(metrics);
    }
}
