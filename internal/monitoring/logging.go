package monitoring

import (
	"strings"
)

// Where logging is generated to.
const (
	LoggingFile    = "logging/logging.conf"
	LogModuleFile  = "logging/jsonlog.py"
	logModule      = "app.core.jsonlog"
	logFile        = "etf_service.log"
	logFileBytes   = 10 << 20 // the plan's 10485760
	logFileBackups = 5
)

// foreignLoggers are those that uvicorn and Celery give handlers of their own.
var foreignLoggers = []string{"uvicorn", "uvicorn.error", "uvicorn.access", "celery"}

// Logging generates the service's logging.conf: the plan's loggers, handlers
// and sizes, and what it leaves out.
func Logging(Environment) (File, error) {
	content, err := render("logging.conf.tmpl", "logging:generate", struct {
		Loggers        []string
		Module, File   string
		Bytes, Backups int
	}{foreignLoggers, logModule, logFile, logFileBytes, logFileBackups})
	return File{Path: LoggingFile, Content: content}, err
}

// LogModule generates the classes that logging.conf names.
func LogModule(Environment) (File, error) {
	content, err := render("jsonlog.py.tmpl", "logging:generate", nil)
	return File{Path: LogModuleFile, Content: content}, err
}

// sectionName is a logger's name as that of a section.
func sectionName(logger string) string { return strings.ReplaceAll(logger, ".", "_") }
