module.exports = {
  "app": {
    "name": "Ffmpeg",
    "price": 10,
    "params": {
      "type": "DOCKER",
      "envvars": "XWDOCKERIMAGE=jrottenberg/ffmpeg:scratch"
    }
  },
  "order": {
    "buy": {
      "app": "0x0000000000000000000000000000000000000000",
      "dataset": "0x0000000000000000000000000000000000000000",
      "params": {
        "cmdline": "-i /iexec/small.mp4 /iexec/small.avi",
        "dirinuri": "http://techslides.com/demos/sample-videos/small.mp4"
      }
    }
  }
};
