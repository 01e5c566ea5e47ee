-- The requests of one run of wrk, written once before it begins, so that the client does nothing but send them.
--
-- Arguments: path, number of keys, bytes of the body (0: a GET), "close" or "keep".

local requests = {}
local last = 0

function init(arguments)
  local path, keys, body_bytes = arguments[1], tonumber(arguments[2]), tonumber(arguments[3])
  local method, body = "GET", nil
  if body_bytes > 0 then
    method, body = "POST", string.rep("r", body_bytes)
  end
  for key = 1, keys do
    local headers = { ["x-room"] = "room-" .. key }
    if arguments[4] == "close" then
      headers["Connection"] = "close"
    end
    requests[key] = wrk.format(method, path, headers, body)
  end
end

function request()
  last = last % #requests + 1
  return requests[last]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    'result: {"requests":%d,"bytes":%.0f,"duration_us":%.0f,"p50_us":%.0f,"p99_us":%.0f,"p999_us":%.0f,' ..
    '"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}\n',
    summary.requests, summary.bytes, summary.duration,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
    errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
