"""What the page asks for, and what it gets: six addresses behind the token."""

import contextlib
import dataclasses

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from mcr_jax.demo import upload
from mcr_jax.demo.guard import Guard
from mcr_jax.demo.jobs import Busy, Jobs
from mcr_jax.errors import UserError

# No form of a page sends this.
BODY = "application/octet-stream"
STATUS = {Busy: 409, upload.TooLarge: 413, upload.TooSlow: 408}


def make(jobs: Jobs, token: str, page: str, files: dict[str, tuple[str, str]]) -> Guard:
  """The application.

  Args:
    jobs: what does the work.
    token: the first part of every path.
    page: its HTML.
    files: name -> (type, text) of what it loads.
  """

  async def show(request: Request) -> Response:
    return HTMLResponse(page)

  async def status(request: Request) -> Response:
    return JSONResponse(dataclasses.asdict(jobs.job) if jobs.job else None)

  async def result(request: Request) -> Response:
    return HTMLResponse(jobs.result, status_code=200 if jobs.result else 404)

  async def cancel(request: Request) -> Response:
    await jobs.cancel(request.path_params["number"])
    return Response(status_code=204)

  async def start(request: Request) -> Response:
    if request.headers.get("content-type") != BODY:
      return JSONResponse({"message": f"What is sent is {BODY}."}, 415)
    try:
      job, place = jobs.reserve()
    except Busy as error:
      return _refused(error)
    try:
      async with contextlib.aclosing(request.stream()) as body:
        found = await upload.take(body, place, _stated(request))
      await jobs.begin(job, found)
    except UserError as error:
      jobs.fail(job, str(error))
      return _refused(error)
    except FileNotFoundError:
      if job.state != "cancelled":  # which removes the folder, from another tab
        raise
      return JSONResponse({"message": "It was cancelled in another tab."}, 409)
    except ClientDisconnect:
      jobs.fail(job, "The browser has left while it sent.")
      return Response(status_code=400)
    finally:
      if job.state == "receiving":  # of whatever went wrong: nothing stays
        jobs.fail(job, "The clip was not received.")
    return JSONResponse({"number": job.number}, 202)

  routes = [
    Route("/", show, methods=["GET"]),
    Route("/job", status, methods=["GET"]),
    Route("/job", start, methods=["POST"]),
    Route("/job/{number:int}", cancel, methods=["DELETE"]),
    Route("/result", result, methods=["GET"]),
    *(Route(f"/{name}", _file(*each), methods=["GET"]) for name, each in files.items()),
  ]
  return Guard(Starlette(routes=routes), token)


def _file(kind: str, text: str):
  async def answer(request: Request) -> Response:
    return Response(text, media_type=kind)

  return answer


def _stated(request: Request) -> int | None:
  length = request.headers.get("content-length", "")
  return int(length) if length.isdecimal() else None


def _refused(error: UserError) -> Response:
  """The message in one line, under the status of its kind."""
  return JSONResponse({"message": str(error)}, STATUS.get(type(error), 400))
