"""Logging as logging.conf says, in the folder and at the level that the configuration names."""

import logging.config
import os

from app.core.config import BACKEND, settings


def configure() -> None:
    folder = settings().log_dir
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["LOG_DIR"] = os.fspath(folder)  # logging.conf reads it
    logging.config.fileConfig(BACKEND / "logging.conf", disable_existing_loggers=False)
    logging.getLogger().setLevel(settings().log_level)
