"""Where an SQS queue is, what a Trigger may do with it, and what its server's errors mean.

    what was found                                   the Trigger
    the Secret, or a key of it, is missing           SecretNotFound, tried again
    there is no such queue                           QueueNotFound, tried again; it holds nothing
    the credentials may not                          AccessDenied, tried again
    no answer, 5xx, or too many requests             Unreachable, tried again; what it holds is unknown
    visibility timeout < the function's timeout      VisibilityTimeoutTooShort, not run until it is right

Lambda refuses the last, too: a message would be visible again while the function still works on it
(https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html).
"""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from funclet.api.sqs import SqsSource
from funclet.core.conditions import Finding
from funclet.core.sqs_event import Queue

QUEUE_NOT_FOUND = "QueueNotFound"
ACCESS_DENIED = "AccessDenied"
UNREACHABLE = "Unreachable"
SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105 (a reason)
VISIBILITY_TOO_SHORT = "VisibilityTimeoutTooShort"
QUEUE_PROBLEMS = frozenset({QUEUE_NOT_FOUND, ACCESS_DENIED, UNREACHABLE, SECRET_NOT_FOUND})

SECRET_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
TOKEN_KEY = "AWS_SESSION_TOKEN"  # noqa: S105 (a name)

MOST_RECEIVED = 10
"""Messages of one answer; the protocol allows no more, nor in one deletion."""
LONGEST_POLL_SECONDS = 20

_AWS_HOST = re.compile(r"sqs(?:-fips)?\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?")
_NO_QUEUE = ("QueueDoesNotExist", "NonExistentQueue", "InvalidAddress")
_DENIED = (
    "AccessDenied",
    "InvalidSecurity",
    "InvalidClientTokenId",
    "InvalidAccessKeyId",
    "UnrecognizedClient",
    "SignatureDoesNotMatch",
    "IncompleteSignature",
    "MissingAuthenticationToken",
    "ExpiredToken",
    "NotAuthorized",
    "OptInRequired",
)


@dataclass(frozen=True, slots=True)
class SqsPlace:
    """A queue, the server to ask for it, and the Secret that opens it."""

    url: str
    endpoint: str
    region: str
    namespace: str = ""
    secret: str | None = None
    """Name of a Secret of the namespace; None: the environment's credentials."""

    @property
    def name(self) -> str:
        """The queue's own name."""
        return self.url.rsplit("/", 1)[-1]

    @property
    def system(self) -> str:
        """OpenTelemetry's name of where it is."""
        return "aws_sqs"


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """What a queue says of itself."""

    arn: str
    visibility_seconds: int


@dataclass(frozen=True, slots=True)
class QueueProblem:
    """Why it says nothing: one of QUEUE_PROBLEMS, and a sentence."""

    reason: str
    message: str


def place_of(source: SqsSource, namespace: str, region: str) -> SqsPlace:
    """Where a Trigger's queue is; `region` is the installation's, for servers whose name does not tell it."""
    secret = source.credentials_secret.name if source.credentials_secret else None
    if source.queue_arn is not None:
        _, partition, _, place, account, name = source.queue_arn.split(":")
        endpoint = (source.endpoint_url or aws_endpoint(place, partition)).rstrip("/")
        return SqsPlace(f"{endpoint}/{account}/{name}", endpoint, source.region or place, namespace, secret)
    assert source.queue_url is not None
    endpoint = (source.endpoint_url or server_of(source.queue_url)).rstrip("/")
    return SqsPlace(source.queue_url, endpoint, source.region or region_of(endpoint, region), namespace, secret)


def aws_endpoint(region: str, partition: str = "aws") -> str:
    """Amazon's server of a region."""
    return f"https://sqs.{region}.amazonaws.com{'.cn' if partition == 'aws-cn' else ''}"


def server_of(queue_url: str) -> str:
    """Scheme, host and port of a queue's URL."""
    url = urlsplit(queue_url)
    return f"{url.scheme}://{url.netloc}"


def region_of(endpoint: str, otherwise: str) -> str:
    """The region of one of Amazon's servers, which its name tells."""
    match = _AWS_HOST.fullmatch(urlsplit(endpoint).hostname or "")
    return match[1] if match else otherwise


def origin_of(arn: str, place: SqsPlace) -> Queue:
    """What records say they come from; what is no ARN (of a server that has none) is made up from the URL."""
    parts = arn.split(":")
    if len(parts) == 6:
        return Queue(parts[5], parts[3], parts[4], parts[1])
    return Queue(place.name, place.region, "000000000000")


def reason_of(status: int, code: str) -> str:
    """What an error answer means: one of QUEUE_PROBLEMS. `code` is the error's name, by whatever convention."""
    if any(each in code for each in _NO_QUEUE):
        return QUEUE_NOT_FOUND
    if status in (401, 403) or any(each in code for each in _DENIED):
        return ACCESS_DENIED
    return UNREACHABLE


def judge_queue(source: SqsSource, found: QueueFacts | QueueProblem, timeout_seconds: int | None) -> Finding | None:
    """What is wrong with a Trigger's queue. `timeout_seconds` is the function's; None: nobody knows yet."""
    if isinstance(found, QueueProblem):
        return Finding(False, found.reason, found.message)
    if timeout_seconds is None or found.visibility_seconds >= timeout_seconds:
        return None
    return Finding(
        False,
        VISIBILITY_TOO_SHORT,
        f"the visibility timeout of {source.queue_url or source.queue_arn} is {found.visibility_seconds} s, less than "
        f"the function's timeout of {timeout_seconds} s: make it longer (six times the timeout is good), or the "
        "function's timeout shorter",
    )


def poll_wait_seconds(pollers: int, places: int) -> int:
    """How long one poll may wait when so many queues share so many places: a turn comes within 20 s, or each second.

    >>> [poll_wait_seconds(pollers, 1000) for pollers in (1, 1000, 2000, 100_000)]
    [20, 20, 10, 1]
    """
    if pollers <= places:
        return LONGEST_POLL_SECONDS
    return max(1, LONGEST_POLL_SECONDS * places // pollers)
