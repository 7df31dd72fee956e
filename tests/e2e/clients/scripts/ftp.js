// The package `ftp`, one session.
const { createReadStream, createWriteStream, writeFileSync, statSync } = require("fs")
const { finished } = require("stream/promises")
const { promisify } = require("util")
const Client = require("ftp")

async function run({ HOST, PORT, MODE, NAME, PASSWORD }) {
    const client = new Client()
    const ready = new Promise((resolve, reject) => client.on("ready", resolve).on("error", reject))
    client.connect({
        host: HOST,
        port: Number(PORT),
        user: NAME,
        password: PASSWORD,
        secure: { plain: false, explicit: true, implicit: "implicit" }[MODE],
        secureOptions: { rejectUnauthorized: false },
    })
    await ready
    const act = (name, ...args) => promisify(client[name].bind(client))(...args)
    // The stream flows as soon as the callback has returned: what is piped later has lost its beginning.
    const get = (remote, file) =>
        new Promise((resolve, reject) =>
            client.get(remote, (error, stream) =>
                error ? reject(error) : finished(stream.pipe(file)).then(resolve, reject),
            ),
        )

    const listed = await act("list")
    writeFileSync("listing", listed.map((entry) => `${entry.name} ${entry.size}\n`).join(""))
    await act("put", "whole.bin", "put.bin")
    await get("there.bin", createWriteStream("got.bin"))
    await act("put", "half.bin", "up.bin")
    await act("append", createReadStream("whole.bin", { start: statSync("half.bin").size }), "up.bin")
    const had = statSync("down.bin").size
    await act("restart", had)
    await get("there.bin", createWriteStream("down.bin", { flags: "r+", start: had }))
    await act("rename", "old name.bin", "new name.bin")
    await act("delete", "unwanted.bin")
    client.end()
}

run(process.env).catch((error) => {
    console.error(error)
    process.exit(1)
})
