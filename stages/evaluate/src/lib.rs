//! Stage evaluate: models, histories and clips to metrics, plots and a report.

