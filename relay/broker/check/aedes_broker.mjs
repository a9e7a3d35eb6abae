// aedes as a broker for a relay: accounts and rules as `relay broker accounts --format json` writes them, everything
// kept by LevelDB. For `relay broker check --crash`, and a pattern for one's own.
//
//     node aedes_broker.mjs SETTINGS.json      {modules, accounts, store, host, port, cert, key}
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createServer } from 'node:tls'
import { pathToFileURL } from 'node:url'

const settings = JSON.parse(readFileSync(process.argv[2]))
const load = (name, file) => import(pathToFileURL(join(settings.modules, name, file)))
const { Aedes } = await load('aedes', 'aedes.js')
const persistence = (await load('aedes-persistence-level', 'persistence.js')).default
const { Level } = (await load('level', 'index.js')).default

const accounts = new Map(JSON.parse(readFileSync(settings.accounts)).map((one) => [one.user, one]))
const LONGEST = 64 * 1024

function covers (filter, topic) {
  const wanted = filter.split('/')
  const given = topic.split('/')
  for (let at = 0; at < wanted.length; at++) {
    if (wanted[at] === '#') return true
    if (given[at] === undefined || given[at] === '#') return false
    if (wanted[at] !== '+' && wanted[at] !== given[at]) return false
  }
  return wanted.length === given.length
}

const aedes = await Aedes.createBroker({
  persistence: persistence(new Level(settings.store)),
  authenticate (client, name, password, done) {
    const account = accounts.get(name)
    const known = account !== undefined && String(password) === account.password
    // An account has its own client ids and no other, so that none takes another's connection.
    const bound = known && (account.client_ids === null || account.client_ids.includes(client.id))
    client.account = account
    done(bound ? null : Object.assign(new Error('refused'), { returnCode: 5 }), bound)
  },
  authorizePublish (client, packet, done) {
    const allowed = client?.account.publish.some((filter) => covers(filter, packet.topic))
    done(allowed && packet.payload.length <= LONGEST ? null : new Error('forbidden'))
  },
  authorizeSubscribe (client, subscription, done) {
    const allowed = client.account.subscribe.some((filter) => covers(filter, subscription.topic))
    done(null, allowed ? subscription : null)
  }
})
const tls = { cert: readFileSync(settings.cert), key: readFileSync(settings.key) }
createServer(tls, aedes.handle).listen(settings.port, settings.host)
