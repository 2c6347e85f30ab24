-- The rule of `limiter_rule.py`, in the same order, for the processes that share a Redis: read that one first.
-- What is put before this text gives `now` (microseconds) and the constants in capitals.
-- KEYS[1]: a hash. ARGV: the question; the asker's rate, its burst, and whether each was set (1) or is a default (0); and
-- what the question is given.

local key, question = KEYS[1], ARGV[1]
local configured, burst = tonumber(ARGV[2]), tonumber(ARGV[3])
local own = table.concat({ 'asked', ARGV[2], ARGV[3], ARGV[4], ARGV[5] }, ' ')
local given = { tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]) }

local FIELDS = {
  'seen_at', 'free_at', 'is_fresh', 'gate_until', 'slowed', 'slowed_at', 'throttles', 'level', 'probe_until', 'per_second', 'burst',
}
local book = {}
local asked = {} -- the limits of those who call, each a field of the hash as `own` is -> when one of them last reserved

local function grown(by)
  return book.slowed + by * GROWTH_PER_S * (math.max(0, now - book.slowed_at) / SECOND)
end

local function rate()
  if book.slowed == 0 then
    return configured
  end
  return math.min(configured, grown(configured))
end

local function interval()
  return math.ceil(SECOND / rate())
end

local function open()
  for _, name in ipairs(FIELDS) do
    book[name] = 0
  end
  local kept = redis.call('HGETALL', key)
  for i = 1, #kept, 2 do
    local held = string.find(kept[i], '^asked ') and asked or book
    held[kept[i]] = tonumber(kept[i + 1])
  end
  if #kept == 0 then
    book.is_fresh = 1
    book.free_at = now + HORIZON + math.max(LATENESS, interval())
  end
  local step = book.seen_at - now
  if step > 0 then
    book.free_at = book.free_at - step
    book.gate_until = book.gate_until - step
    book.slowed_at = book.slowed_at - step
    book.probe_until = book.probe_until - step
    for name, at in pairs(asked) do
      asked[name] = at - step
    end
  end
  book.seen_at = now
end

local function put_in_force()
  if book.per_second > 0 then
    if configured ~= book.per_second and book.slowed > 0 then
      book.slowed = grown(book.per_second)
      book.slowed_at = math.max(book.slowed_at, now)
    end
    if configured < book.per_second or burst < book.burst then
      book.free_at = math.max(book.free_at, now) + math.max(LATENESS, interval())
    end
  end
  book.per_second, book.burst = configured, burst
end

local function find_limit(counts)
  for name, at in pairs(asked) do
    if now - at >= REMEMBERED then
      asked[name] = nil
      redis.call('HDEL', key, name)
    end
  end
  if counts then
    asked[own] = now
  end
  if not next(asked) then
    return
  end
  local rates, bursts = { ['0'] = math.huge, ['1'] = math.huge }, { ['0'] = math.huge, ['1'] = math.huge }
  for name in pairs(asked) do
    local of_rate, of_burst, is_rate_set, is_burst_set = string.match(name, '^asked (%S+) (%S+) (%S+) (%S+)$')
    rates[is_rate_set] = math.min(rates[is_rate_set], tonumber(of_rate))
    bursts[is_burst_set] = math.min(bursts[is_burst_set], tonumber(of_burst))
  end
  configured = rates['1'] < math.huge and rates['1'] or rates['0']
  burst = bursts['1'] < math.huge and bursts['1'] or bursts['0']
  put_in_force()
end

-- Lua writes large numbers with 14 digits unless it is told otherwise.
local function save()
  local pairs_ = {}
  local function keep(name, number)
    pairs_[#pairs_ + 1] = name
    pairs_[#pairs_ + 1] = string.format('%.17g', number)
  end
  for _, name in ipairs(FIELDS) do
    keep(name, book[name])
  end
  for name, at in pairs(asked) do
    keep(name, at)
  end
  redis.call('HSET', key, unpack(pairs_))
end

local function is_news(began_ago)
  return now - began_ago >= book.gate_until
end

local function shut(seconds)
  if book.slowed > 0 then
    book.slowed = grown(configured)
  end
  book.gate_until = math.max(book.gate_until, now + math.min(seconds, LONGEST_GATE))
  book.slowed_at = book.gate_until
  book.free_at = math.max(book.free_at, book.gate_until)
  book.probe_until = 0
end

local function doubled(first, times)
  return math.min(LONGEST_PAUSE, first * 2 ^ math.min(math.max(times, 1) - 1, 20))
end

local answers = {}

function answers.read() end

function answers.announce() end

function answers.reserve(wanted, within)
  within = math.min(within, HORIZON)
  if book.is_fresh == 1 or (book.level > 0 and now < book.probe_until) then
    wanted = 0
  elseif book.level > 0 then
    wanted = math.min(wanted, 1)
  end
  local every = interval()
  local earliest = math.max(book.free_at, now - (burst - 1) * every)
  local room = math.floor((now + within - earliest) / every) + 1
  local granted = math.max(0, math.min(wanted, room))
  book.free_at = earliest + granted * every
  if granted == 0 or book.level == 0 then
    return granted, earliest - now, 0
  end
  book.probe_until = math.max(earliest, now) + LATENESS
  return granted, earliest - now, book.probe_until
end

function answers.probe(name, lasts)
  if book.probe_until ~= name then
    return 0, 0, 0
  end
  book.probe_until = now + lasts
  return 1, 0, 0
end

function answers.close(seconds, slow_down, began_ago)
  local news, before = is_news(began_ago), rate()
  if seconds == 0 then
    if news then
      book.throttles = book.throttles + 1
    end
    seconds = doubled(FIRST_PAUSE, book.throttles)
  end
  if slow_down == 1 and news then
    book.slowed = math.max(math.min(FLOOR_PER_SECOND, configured), before * SLOW_DOWN)
    book.slowed_at = now
  end
  shut(seconds)
end

function answers.fail(is_outage, began_ago)
  if is_news(began_ago) and (is_outage == 1 or book.level > 0) then
    book.level = book.level + 1
    shut(doubled(FIRST_OUTAGE, book.level))
  end
end

function answers.succeed(began_ago)
  if not is_news(began_ago) then
    return
  end
  if book.level > 0 then
    book.free_at = math.max(book.free_at, now)
  end
  book.level, book.throttles, book.probe_until = 0, 0, 0
end

function answers.restore(gate_in)
  book.is_fresh = 0
  if gate_in > 0 then
    shut(gate_in)
  end
end

function answers.idle()
  if book.is_fresh == 1 then
    book.free_at = now + interval()
  end
end

open()
find_limit(question == 'reserve' or question == 'announce')
local granted, first_in, probe = answers[question](unpack(given))
save()

local next_at = math.max(book.free_at, now)
if book.level > 0 and now < book.probe_until then
  next_at = math.max(next_at, math.min(book.probe_until, now + PROBE_QUESTION))
end
return {
  granted or 0,
  first_in or 0,
  interval(),
  next_at - now,
  math.max(0, book.gate_until - now),
  book.level,
  book.throttles,
  probe or 0,
  book.is_fresh,
  string.format('%.17g', rate()),
  string.format('%.17g', configured),
}
