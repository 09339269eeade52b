-- SPDX-License-Identifier: Apache-2.0
--
-- A mod_lua handler for test_lua.py: waits for the request's body inside a coroutine inside a
-- protected call, sleeps, throws, and reports whether all was its own. The client is the gate.

local kept = {}

local function wait_for_body(r, me)
    local mine = "local " .. me
    local body = r:requestbody()
    coroutine.yield(mine)
    return body
end

function handle(r)
    local me = r.args
    local saw = {me}
    kept[me] = "kept " .. me
    global = me
    local thread = coroutine.create(wait_for_body)
    local _, mine = coroutine.resume(thread, r, me)
    saw[#saw + 1] = mine
    local _, body = coroutine.resume(thread)
    saw[#saw + 1] = body
    r.usleep(1000)
    local ok, thrown = pcall(function() error("thrown by " .. me, 0) end)
    saw[#saw + 1] = tostring(ok) .. " " .. thrown
    saw[#saw + 1] = kept[me]
    saw[#saw + 1] = string.rep(me, 3):gsub(me, "<%0>")
    saw[#saw + 1] = r:md5(me)
    saw[#saw + 1] = r.headers_in["X-Client"]
    r.content_type = "text/plain"
    r:puts(table.concat(saw, ", "), global == me and ", global" or ", another's", "\n")
    return apache2.OK
end
