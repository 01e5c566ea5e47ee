-- Sends 10,000 keys round and round. Each request says when it began, in microseconds since 1970, so that a backend's
-- log can tell whether it was begun before or after a change.

local ffi = require("ffi")
ffi.cdef [[
  struct ringway_time { long seconds; long microseconds; };
  int gettimeofday(struct ringway_time *now, void *zone);
]]

local now = ffi.new("struct ringway_time")
local key = -1

function request()
  key = (key + 1) % 10000
  ffi.C.gettimeofday(now, nil)
  local began = tonumber(now.seconds) * 1000000 + tonumber(now.microseconds)
  return string.format("GET /?k=key-%d HTTP/1.1\r\nHost: live.test\r\nx-began: %.0f\r\n\r\n", key, began)
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    'result: {"requests":%d,"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d,"duration_us":%d,"p99_us":%d}\n',
    summary.requests, errors.connect, errors.read, errors.write, errors.status, errors.timeout, summary.duration,
    latency:percentile(99)))
end
