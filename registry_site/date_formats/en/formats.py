"""How the admin site writes days and times: as pages, logs and commands do, so that columns stay narrow and compare."""

DATE_FORMAT = "Y-m-d"
TIME_FORMAT = "H:i"
DATETIME_FORMAT = "Y-m-d H:i"
