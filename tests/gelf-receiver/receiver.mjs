// Prints `listening PORT`, then each GELF message that arrives over UDP as a line of JSON. Ends with its stdin.
import { createSocket } from 'node:dgram'
import { createRequire } from 'node:module'

const GelfServer = createRequire(import.meta.url)('graygelf/server')

// graygelf takes port 0 for its default, so a free one is looked up first.
function freePort() {
  return new Promise((resolve, reject) => {
    const socket = createSocket('udp4')
    socket.once('error', reject)
    socket.bind(0, '127.0.0.1', () => {
      const { port } = socket.address()
      socket.close(() => resolve(port))
    })
  })
}

const port = await freePort()
const server = GelfServer()
server.on('error', (error) => {
  console.error(error)
  process.exit(1)
})
server.on('message', (message) => console.log(JSON.stringify(message)))
server.listen(port, '127.0.0.1')
server._udp.once('listening', () => console.log(`listening ${port}`))
process.stdin.resume().on('end', () => process.exit(0))
