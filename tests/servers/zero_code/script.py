"""A program without a web app that asks a language model."""

from __future__ import annotations

import os

from openai import OpenAI

client = OpenAI(base_url=os.environ["MODEL_URL"], api_key="none", max_retries=0)
client.chat.completions.create(model="smollm2-135m-instruct", messages=[{"role": "user", "content": "SECRET-QUESTION"}], max_tokens=4)
