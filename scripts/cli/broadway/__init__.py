"""A client of Broadway: `Client`, its twin `AsyncClient`, what they return, and the errors that they raise."""

from broadway.async_client import AsyncClient
from broadway.client import Client
from broadway.errors import BadAnswer, BroadwayError, NotFound, Refused, Unavailable
from broadway.models import (
    AuditPage,
    Grader,
    Job,
    JobCancelled,
    JobDetails,
    JobLog,
    JobPage,
    LogEvent,
    Pause,
    PausePage,
    Progress,
    Result,
    Run,
    RunCreated,
    RunStatus,
    Webhook,
)

__all__ = [
    "AsyncClient",
    "AuditPage",
    "BadAnswer",
    "BroadwayError",
    "Client",
    "Grader",
    "Job",
    "JobCancelled",
    "JobDetails",
    "JobLog",
    "JobPage",
    "LogEvent",
    "NotFound",
    "Pause",
    "PausePage",
    "Progress",
    "Refused",
    "Result",
    "Run",
    "RunCreated",
    "RunStatus",
    "Unavailable",
    "Webhook",
]
