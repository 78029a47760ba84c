package monitoring

// RenderMetricsModule is the metrics module of another catalog.
var RenderMetricsModule = metricsModule
