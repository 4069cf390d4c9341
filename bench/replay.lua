-- wrk -s replay.lua URL -- FILE STATUS again|once
-- Sends the requests that FILE has, with a zero byte between two, as they stand there, and counts the answers that have STATUS.
-- "once" ends when each of them was answered so; until then the last is sent again.

local ffi = require("ffi")
ffi.cdef("int getpid(void); int kill(int pid, int signal);")

local threads, all, position, started = {}, {}, 1, false
right, wrong, wrong_status = 0, 0, 0

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  local file = assert(io.open(args[1], "rb"))
  for request in file:read("*a"):gmatch("[^%z]+") do all[#all + 1] = request end
  file:close()
  expected, once = tonumber(args[2]), args[3] == "once"
end

function request()
  -- wrk asks for the first one twice: to look at it before the start, and to send it.
  if not started then
    started = true
    return all[1]
  end
  local this = all[position]
  position = position < #all and position + 1 or once and position or 1
  return this
end

function response(status)
  if status == expected then
    right = right + 1
    -- thread:stop() would leave wrk asleep until its time is over; Ctrl-C wakes it up.
    if once and right == #all then ffi.C.kill(ffi.C.getpid(), 2) end
  else
    wrong, wrong_status = wrong + 1, status
  end
end

function done(summary, latency)
  local errors = summary.errors.connect + summary.errors.read + summary.errors.write
  print(string.format(
    '\n{"right": %d, "wrong": %d, "wrong_status": %d, "errors": %d, "seconds": %f, "p50": %f, "p99": %f}',
    threads[1]:get("right"), threads[1]:get("wrong"), threads[1]:get("wrong_status"), errors,
    summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
