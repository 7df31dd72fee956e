// basic-ftp, one session.
const { createWriteStream, writeFileSync, statSync } = require("fs")
const { Client } = require("basic-ftp")

async function run({ HOST, PORT, MODE, NAME, PASSWORD }) {
    const client = new Client(30_000)
    try {
        await client.access({
            host: HOST,
            port: Number(PORT),
            user: NAME,
            password: PASSWORD,
            secure: { plain: false, explicit: true, implicit: "implicit" }[MODE],
            secureOptions: { rejectUnauthorized: false },
        })
        const listed = await client.list()
        writeFileSync("listing", listed.map((entry) => `${entry.name} ${entry.size}\n`).join(""))
        await client.uploadFrom("whole.bin", "put.bin")
        await client.downloadTo("got.bin", "there.bin")
        await client.uploadFrom("half.bin", "up.bin")
        await client.appendFrom("whole.bin", "up.bin", { localStart: await client.size("up.bin") })
        const had = statSync("down.bin").size
        await client.downloadTo(createWriteStream("down.bin", { flags: "r+", start: had }), "there.bin", had)
        await client.rename("old name.bin", "new name.bin")
        await client.remove("unwanted.bin")
    } finally {
        client.close()
    }
}

run(process.env).catch((error) => {
    console.error(error)
    process.exit(1)
})
